"""`isthmus receive`: take what arrives in a directory, or over a one-way link."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from isthmus.carry.inbox.look import Settings, Sweep
from isthmus.carry.inbox.watching import sweep, watch
from isthmus.cli.command import Run, common_options, parse_duration
from isthmus.cli.demanding import approval_options, demands_of, identities_of, identity_option, image_options
from isthmus.cli.output import human_size
from isthmus.errors import UsageError


@click.command("receive")
@click.argument("source", metavar="DIR|diode://…")
@click.argument("directory", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--store", type=click.Path(path_type=Path), help="Unpack into this store.  [default: only verify]")
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="Require a signature by this public key."
)
@click.option(
    "--policy", "policy_path", type=click.Path(path_type=Path), help="What this site accepts; see unpack --help."
)
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option("--every", default="5s", show_default=True, metavar="TIME", help="How often to look.")
@click.option(
    "--settle",
    default="5s",
    show_default=True,
    metavar="TIME",
    help="A file that changed since is still arriving.",
)
@click.option("--remove-taken", is_flag=True, help="Remove the volumes of what is in the store.  [needs --store]")
@click.option("--timeout", metavar="TIME", help="End when nothing came for so long.  [diode]")
@identity_option
@approval_options
@image_options
@common_options
def command(
    run: Run,
    source: str,
    directory: Path | None,
    store: Path | None,
    keys: tuple[Path, ...],
    policy_path: Path | None,
    once: bool,
    every: str,
    settle: str,
    remove_taken: bool,
    timeout: str | None,
    identity_paths: tuple[Path, ...],
    approver_paths: tuple[Path, ...],
    approval_files: tuple[Path, ...],
    signers: tuple[str, ...],
    attestations: tuple[str, ...],
) -> int:
    """Watch a directory: once all volumes of a bundle are there and verified, they are unpacked.

    Volumes may lie in DIR or one directory further down, of any number of bundles. The lock and the release
    document beside them go into the store too, the latter also when it arrives later. What fails verification is
    moved to DIR/quarantine with the reason beside it; what is complete is left where it is and not read again.
    Encrypted volumes need --identity; those that are for another identity stay where they are, and are listed.
    Exit status with --once: 0 when nothing is left to wait for, 3 when volumes are missing or still arrive, 4 when
    something was quarantined. With diode://[ADDRESS]:PORT it receives one session of a one-way link into DIR.

    \b
    Examples:
      isthmus receive /srv/incoming --store /srv/store --key isthmus.pub
      isthmus receive /srv/incoming --store /srv/store --key isthmus.pub --once --json
      isthmus receive /srv/incoming --store /srv/store --key isthmus.pub --remove-taken
      isthmus receive /srv/incoming --store /srv/store --key isthmus.pub --identity site.age
      isthmus receive diode://10.0.0.2:9000 /srv/incoming/today
    """
    if source.startswith("diode://"):
        return _over_diode(run, source, directory, timeout)
    if directory is not None:
        raise UsageError("wrong-usage", "two directories are only for diode://")
    if remove_taken and store is None:
        raise UsageError("wrong-usage", "--remove-taken needs --store: what is only verified is nowhere else")
    from isthmus.bundle import load_policy, load_public_key
    from isthmus.bundle.approval import RELEASE
    from isthmus.bundle.documents import report_path
    from isthmus.bundle.policy import gate
    from isthmus.cli.documents import take_release

    place = Path(source)
    public = tuple(load_public_key(path) for path in keys)
    policy = load_policy(policy_path) if policy_path else None

    tried: set[tuple[str, int]] = set()

    def documents(bundle: str, volumes: Sequence[Path]) -> None:
        if store is None or report_path(store, bundle, RELEASE).exists():
            return
        found = {path.parent / RELEASE for path in volumes}
        as_they_are = {(str(path), path.stat().st_mtime_ns) for path in found if path.exists()}
        if not as_they_are <= tried:  # one that was refused is looked at again only once it has changed
            tried.update(as_they_are)
            take_release(run, volumes, store, bundle, public or gate(store, policy=policy).keys)

    settings = Settings(
        store,
        public,
        policy,
        demands_of(approver_paths, approval_files, (place,), signers, attestations),
        parse_duration(settle),
        remove_taken,
        documents,
        tuple(identities_of(identity_paths)),
    )
    if not keys and not (store and gate(store, policy=settings.policy).keys):
        run.note("No --key was given: damage will be found, but not who made a bundle.")
    if once:
        with run.progress("receive") as report:
            found = sweep(place, settings, report)
            if found.unsettled:
                time.sleep(min(settings.settle, 60) + 0.1)
                later = sweep(place, settings, report)
                later.taken[:0], later.quarantined[:0] = found.taken, found.quarantined
                found = later
        run.emit(_document(found), lambda: click.echo("\n".join(_lines(found)) or "nothing is there"))
        return 4 if found.quarantined else 3 if found.incomplete or found.unsettled else 0
    return _watch(run, place, settings, parse_duration(every))


def _watch(run: Run, place: Path, settings: Settings, every: float) -> int:
    run.note(f"watching {place}; Ctrl-C ends it")
    total, said = Sweep(), [""]

    def tell(found: Sweep) -> None:
        total.taken += found.taken
        total.quarantined += found.quarantined
        total.incomplete, total.unsettled, total.known = found.incomplete, found.unsettled, found.known
        text = "\n".join(_lines(found))
        if text and text != said[0]:
            run.note(text)
        said[0] = text

    try:
        with run.progress("receive") as report:
            watch(place, settings, tell, every=max(every, 0.1), progress=report)
    except KeyboardInterrupt:
        run.emit(_document(total), "stopped watching")
    return 0


def _document(found: Sweep) -> dict[str, Any]:
    return {
        "unpacked": [{"bundle": one.bundle, "name": one.name, "store": one.store} for one in found.taken],
        "known": found.known,
        "incomplete": [
            {"bundle": one.bundle or None, "name": one.name, "missing": one.missing, "why": one.why}
            for one in found.incomplete
        ],
        "quarantined": [{"file": one.file, "code": one.code, "why": one.why} for one in found.quarantined],
        "arriving": found.unsettled,
    }


def _lines(found: Sweep) -> list[str]:
    lines = [f"{one.name}: {'unpacked into ' + one.store if one.store else 'complete'}" for one in found.taken]
    lines += [f"{one.name}: waits, {one.why or 'missing ' + ', '.join(one.missing)}" for one in found.incomplete]
    lines += [f"{one.file}: moved to quarantine, {one.why} [{one.code}]" for one in found.quarantined]
    lines += [f"{name}: still arriving" for name in found.unsettled]
    if not lines and found.known:
        count = len(found.known)
        lines.append(f"{count} bundles, all taken before" if count > 1 else "one bundle, taken before")
    return [*lines, found.trouble] if found.trouble else lines


def _over_diode(run: Run, url: str, directory: Path | None, timeout: str | None) -> int:
    from isthmus.carry.diode.receiving import receive

    if directory is None:
        raise UsageError("wrong-usage", "say where to: isthmus receive diode://[ADDRESS]:PORT DIR")
    seconds = parse_duration(timeout) if timeout else None
    with run.progress("receive") as report:
        received = receive(url, directory, timeout=seconds, progress=report)
    document = {
        "bytes": received.bytes,
        "seconds": round(received.seconds, 3),
        "session": received.session,
        "rebuilt": received.rebuilt,
        "directory": str(directory),
    }
    run.emit(document, f"{directory}: {human_size(received.bytes)} of session {received.session[:8]}")
    return 0
