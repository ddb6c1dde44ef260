"""`isthmus rehearse`: pull everything for real in a network that has no way out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options, parse_duration
from isthmus.errors import UsageError

if TYPE_CHECKING:
    from isthmus.rehearse.result import RehearsalResult


@click.command("rehearse")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_LOCK,
    show_default=True,
    help="The lock.",
)
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option(
    "--run", "run_for", metavar="TIME", help="Also start every image's entry point for so long, such as 10s."
)
@click.option("--image", "only", multiple=True, metavar="GLOB", help="Only these images. Repeatable.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Pulls at once.")
@click.option(
    "--servfail", is_flag=True, help="Refuse unknown names, as the site does, instead of recording what follows."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the result there too: .html or .json.")
@click.option("--clean", is_flag=True, help="Only remove what a rehearsal left behind that was killed.")
@common_options
def command(
    run: Run,
    lock_path: Path,
    store: Path | None,
    run_for: str | None,
    only: tuple[str, ...],
    jobs: int,
    servfail: bool,
    out: Path | None,
    clean: bool,
) -> int:
    """Build the closed world on this machine, and pull everything of the lock in it by its original name.

    In network namespaces of their own, the site serves the store and a containerd with the generated
    configuration pulls from it; a default route leads nowhere but to a recorder. Files, charts and artifacts are
    fetched too. With --run, every entry point is started, and what it wants from the Internet is recorded by
    image and process: the downloads that nobody declared. Needs root. Everything is taken away again; the
    machine's own network is not touched.

    Ends with 3 where something did not come, or where an attempt to leave is not decided in isthmus.yaml
    (platform.decide).

    \b
    Examples:
      isthmus rehearse
      isthmus rehearse --run 10s --out rehearsal.html
      isthmus rehearse --clean
    """
    from isthmus.rehearse.traces import clean as clean_up

    if clean:
        removed = clean_up()
        run.emit(
            {"removed": list(removed)}, "\n".join(f"removed {name}" for name in removed) or "nothing was left"
        )
        return 0
    result = _rehearse(run, lock_path, store, run_for, only, jobs, servfail)
    if out is not None:
        config = run.config()
        _write(out, result, config.platform.name if config else "platform")
    run.emit(result.document(), lambda: _show(result))
    return 0 if result.is_complete else 3


def _rehearse(
    run: Run,
    lock_path: Path,
    store: Path | None,
    run_for: str | None,
    only: tuple[str, ...],
    jobs: int,
    servfail: bool,
) -> "RehearsalResult":
    from dataclasses import replace
    from fnmatch import fnmatchcase

    from isthmus.cli.configure import site_of
    from isthmus.rehearse.run import Options, rehearse
    from isthmus.store import Store

    site = site_of(run, lock_path, default="https://registry.rehearsal.internal")
    if only:
        entries = tuple(entry for entry in site.entries if any(fnmatchcase(entry.name, glob) for glob in only))
        if not entries:
            raise UsageError("wrong-usage", f"nothing in the lock is like {', '.join(only)}", where=str(lock_path))
        site = replace(site, entries=entries)
    where = store or run.store_path
    Store.open(where).close()
    options = Options(jobs=jobs, seconds=parse_duration(run_for) if run_for else 0.0, sink=not servfail)
    with run.progress("rehearse", "items") as report:
        return rehearse(site, where, options, report)


def _write(out: Path, result: "RehearsalResult", name: str) -> None:
    import json

    from isthmus.errors import UnreachableError

    if out.suffix == ".html":
        from isthmus.rehearse.page import rehearsal_page

        text = rehearsal_page(result, name)
    elif out.suffix == ".json":
        text = json.dumps(result.document(), indent=2, sort_keys=True) + "\n"
    else:
        raise UsageError("wrong-usage", f"not .html or .json: {out.name[:100]}")
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(out)) from error


def _show(result: "RehearsalResult") -> None:
    for note in result.notes:
        click.echo(note)
    for failure in result.failed:
        click.echo(f"failed  {failure.name}: {failure.why}")
    for row in result.egress:
        where = f"{row.to}:{row.port}/{row.proto}" if row.port else f"{row.to}/{row.proto}"
        click.echo(f"egress  {where}  by {row.by}, {row.count} times: {row.decision or 'not decided'}")
    done = f"{result.pulled} images pulled, {result.fetched} other things fetched"
    if result.started:
        done += f", {result.started} entry points started"
    wrong = f"{len(result.failed)} failed, {sum(not row.decision for row in result.egress)} undecided ways out"
    click.echo(f"{done} in {result.seconds:.1f} s; {wrong}")
