"""`isthmus cross`: all of it, as the file says."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.crossing import Places, State, Step, load_state, of_inventory, plan_steps, save_state
from isthmus.cli.output import fail, print_table
from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.config import Config

STEPS = ("scan", "lock", "pull", "pack", "send", "mirror", "configure", "check")


@click.command("cross")
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
@click.option("--to", metavar="TARGET", help="Send the bundle there: ssh://…, sftp://…, diode://… or a directory.")
@click.option(
    "--mirror/--no-mirror",
    default=None,
    help="This machine reaches the site's registry: fill it, configure and check.  [default: isthmus.yaml]",
)
@click.option("--sign", multiple=True, type=click.Path(), help="Sign with this private key. Repeatable.")
@click.option("--since", multiple=True, type=click.Path(), help="Leave out what this receipt says is held.")
@click.option("--from", "first", type=click.Choice(STEPS), help="Run this step, and all after it, in any case.")
@click.option("--until", "last", type=click.Choice(STEPS), help="Run nothing after this step.")
@click.option("--skip", multiple=True, type=click.Choice(STEPS), help="Leave this step out. Repeatable.")
@click.option(
    "--lock", "lock_path", type=click.Path(path_type=Path), default=DEFAULT_LOCK, show_default=True,
    help="The lock to write.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Scan, and print the plan: what would be done, and what not.")
@common_options
def command(
    run: Run,
    sources: tuple[str, ...],
    to: str | None,
    mirror: bool | None,
    sign: tuple[str, ...],
    since: tuple[str, ...],
    first: str | None,
    last: str | None,
    skip: tuple[str, ...],
    lock_path: Path,
    dry_run: bool,
) -> int:
    """Run scan, lock, pull and pack, then send; where this machine reaches both sides, mirror, configure, check.

    The section cross of isthmus.yaml says where to, with which keys and on which medium; options win. A step
    whose input is as it was is not run again, so after an interruption run the same command again: it goes on
    with the lock that it had. Once a crossing is complete, the next one asks anew what the tags are. Each bundle
    has a directory, there as well, and a sequence number of its own: bundles/0001, bundles/0002.

    Ends with the exit status of the first step that failed; nothing is run after it, except check after
    configure, which fails where decisions are open.

    \b
    Examples:
      isthmus cross --to ssh://carrier@gate.site.example/srv/incoming --sign keys/isthmus.key
      isthmus cross --to /media/disk
      isthmus cross --mirror --skip pack
      isthmus cross --until lock
      isthmus cross --dry-run
    """
    documents: list[Any] = []
    within = replace(run, collect=documents.append, scanned={})
    config = _settings(within.config() or Config(), to, mirror, sign, since)
    state = load_state(run.workspace)
    crossing = _Crossing(within, documents, config, sources, lock_path, state)
    chosen = _chosen(crossing.steps(), first, last, skip)
    if dry_run:
        return _show_plan(run, crossing, chosen, first)
    return _run_all(run, crossing, chosen, first, whole=last is None and not skip)


def _settings(
    config: Config, to: str | None, mirror: bool | None, sign: tuple[str, ...], since: tuple[str, ...]
) -> Config:
    """The file's, with what the options say instead."""
    cross = config.cross
    changed = msgspec.structs.replace(
        cross,
        to=cross.to if to is None else to,
        mirror=cross.mirror if mirror is None else mirror,
        sign=sign or cross.sign,
        since=since or cross.since,
    )
    if changed.mirror and not config.site.registry.host:
        raise UsageError(
            "wrong-usage", "the site's registry is not known", hint="give site.registry.host in isthmus.yaml"
        )
    return msgspec.structs.replace(config, cross=changed)


def _chosen(
    steps: tuple[Step, ...], first: str | None, last: str | None, skip: tuple[str, ...]
) -> tuple[str, ...]:
    names = [step.name for step in steps]
    for name in (first, last):
        if name and name not in names:
            raise UsageError(
                "wrong-usage",
                f"this crossing has no step {name!r}",
                hint="--to adds send, --mirror what follows it",
            )
    begin = names.index(first) if first else 0
    end = names.index(last) + 1 if last else len(names)
    if begin >= end:
        raise UsageError("wrong-usage", f"--from {first} comes after --until {last}")
    return tuple(name for name in names[begin:end] if name not in skip)


@dataclass
class _Crossing:
    """One run of all steps: what they read and write, and what was remembered of the last one."""

    run: Run
    documents: list[Any]
    config: Config
    sources: tuple[str, ...]
    lock: Path
    state: State

    def steps(self) -> tuple[Step, ...]:
        """The steps, with the directory of the bundle as it is numbered now."""
        cross = self.config.cross
        places = Places(
            self.lock, self.run.workspace, Path(cross.bundles), Path(cross.site), max(1, self.state.number)
        )
        return plan_steps(self.config, places, cross.to, cross.mirror, self.sources, self._inventory)

    def step(self, name: str) -> Step:
        """One of them."""
        return next(step for step in self.steps() if step.name == name)

    def is_settled(self, name: str) -> bool:
        """Whether the step was run with the same input, and what it made is still there."""
        step = self.step(name)
        if step.made_from is None or not step.is_there():
            return False
        if name == "lock" and self.state.complete:
            return False
        return self.state.done.get(name) == step.made_from()

    def begin(self, name: str) -> None:
        """Before a step runs: another bundle than the last one gets the next number."""
        self.state.done.pop(name, None)
        if name == "lock":
            self.state.complete = False
        step = self.step(name)
        if name == "pack" and step.made_from is not None and self.state.packing != step.made_from():
            self.state.packing = step.made_from()
            self.state.number += 1
        self.save()

    def finish(self, name: str) -> None:
        """After a step was run well."""
        step = self.step(name)
        if step.made_from is not None:
            self.state.done[name] = step.made_from()
        self.save()

    def save(self) -> None:
        """Remember it, for the case that we do not come back."""
        save_state(self.run.workspace, self.state)

    def _inventory(self) -> str:
        from isthmus.cli.finding import scan_platform

        found = scan_platform(self.run, self.sources)
        return of_inventory(found, *self.config.platform.architectures, *self.config.platform.include)


def _show_plan(run: Run, crossing: _Crossing, chosen: tuple[str, ...], first: str | None) -> int:
    """What would be done. Once a step would be run, all that follow it might be."""
    plan: list[dict[str, str]] = []
    changes = first is not None
    for name in chosen:
        step = crossing.step(name)
        settled = not changes and crossing.is_settled(name)
        changes = changes or (step.made_from is not None and not settled)
        plan.append({"step": name, "would": "skip" if settled else "run", "command": step.line})
    rows = [(entry["step"], entry["would"], entry["command"]) for entry in plan]
    run.emit(
        {"dry_run": True, "plan": plan}, lambda: print_table("The crossing", ("step", "would", "command"), rows)
    )
    return 0


def _run_all(run: Run, crossing: _Crossing, chosen: tuple[str, ...], first: str | None, *, whole: bool) -> int:
    outcomes: list[dict[str, Any]] = []
    error: IsthmusError | None = None
    status = 0
    for name in chosen:
        if status and not (name == "check" and outcomes[-1]["step"] == "configure" and error is None):
            break
        if first is None and crossing.is_settled(name):
            run.note(f"{name}: up to date")
            outcomes.append({"step": name, "status": 0, "skipped": True, "seconds": 0.0})
            continue
        crossing.begin(name)
        run.note(f"{name} …")
        outcome, error = _run_step(crossing, crossing.step(name))
        outcomes.append(outcome)
        status = status or outcome["status"]
        if outcome["status"] == 0:
            crossing.finish(name)
        elif name == "check":
            # What was there is gone: fill the registry again the next time.
            crossing.state.done.pop("mirror", None)
            crossing.save()
    if status == 0 and whole:
        crossing.state.complete = True
        crossing.save()
    document: dict[str, Any] = {"steps": outcomes, "status": status}
    if error is not None:
        document |= error.as_document()
    run.emit(document, lambda: _summary(outcomes))
    return status


def _run_step(crossing: _Crossing, step: Step) -> tuple[dict[str, Any], IsthmusError | None]:
    """Run a command with the options of this run, and keep what it would have printed for machines."""
    from isthmus.cli.main import Commands

    crossing.documents.clear()
    context = click.get_current_context()
    found = Commands().get_command(context, step.name)
    assert found is not None
    started = time.monotonic()
    error: IsthmusError | None = None
    try:
        with found.make_context(step.name, list(step.words), parent=context) as inner:
            inner.obj = crossing.run
            status = found.invoke(inner) or 0
    except IsthmusError as raised:
        error = raised
        status = fail(raised, as_json=False)
    outcome = {
        "step": step.name,
        "status": status,
        "skipped": False,
        "seconds": round(time.monotonic() - started, 3),
    }
    return outcome | ({"document": crossing.documents[-1]} if crossing.documents else {}), error


def _summary(outcomes: list[dict[str, Any]]) -> None:
    rows = [
        (
            outcome["step"],
            "up to date"
            if outcome["skipped"]
            else "done"
            if not outcome["status"]
            else f"status {outcome['status']}",
            f"{outcome['seconds']:.1f} s",
        )
        for outcome in outcomes
    ]
    print_table("The crossing", ("step", "", "time"), rows)
