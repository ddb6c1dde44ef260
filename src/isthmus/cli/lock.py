"""`isthmus lock`: resolve everything that was found to digests."""

from pathlib import Path

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import connect_upstreams, connection_options, parse_platforms, upstream_options
from isthmus.cli.finding import references_to_lock, scan_platform
from isthmus.cli.output import human_size
from isthmus.cli.things import Everything, resolve_everything
from isthmus.errors import IncompleteError, UnreachableError, VerificationError
from isthmus.inventory.lock import Lock, changed, read_lock, write_lock
from isthmus.inventory.model import Item


@click.command("lock")
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_LOCK, show_default=True, help="The lock to write."
)
@click.option(
    "--include",
    type=click.Choice(["conditional", "test", "possible"]),
    multiple=True,
    help="Lock these too: needed with an option only, by test hooks only, or not surely a reference. Repeatable.",
)
@click.option(
    "--incomplete", is_flag=True, help="Write the lock even where something is unresolved; still exits 3."
)
@click.option(
    "--trust-anew",
    is_flag=True,
    help="Take files that were trusted on first use as they are now, though they changed since the former lock.",
)
@upstream_options
@common_options
def command(
    run: Run,
    sources: tuple[str, ...],
    out: Path,
    include: tuple[str, ...],
    incomplete: bool,
    trust_anew: bool,
    upstreams: tuple[str, ...],
    platforms: tuple[str, ...],
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Scan, and ask the upstream registries what every tag is at this moment.

    Files, charts, git repositories and packages of isthmus.yaml are resolved too. A file without a checksum is
    trusted on first use; what has to be read for that goes into the store of the workspace.

    The lock is sorted and deterministic, so that it can be kept in git and compared.

    \b
    Examples:
      isthmus lock manifests:deploy/
      isthmus lock --platform linux/amd64 --out release-7.lock
    """
    config = run.config()
    inventory = scan_platform(run, sources)
    wanted, left = references_to_lock(run, inventory, include)
    chosen = parse_platforms(platforms, config)
    options = connection_options(ca, insecure, plain_http, jobs)
    old = read_lock(out) if out.exists() else Lock()
    with connect_upstreams(options, upstreams, config) as registries:
        resolution = resolve_everything(
            run, wanted, registries, options, upstreams, chosen, jobs, old, trust_anew=trust_anew
        )
    _refuse_incomplete(resolution, left, incomplete)
    lock = Lock(platforms=tuple(map(str, chosen)), references=resolution.entries)
    difference = changed(old, lock)
    write_lock(out, lock)
    document = {
        "lock": str(out),
        "references": len(lock.references),
        "bytes": resolution.bytes,
        "changed": difference,
    }
    size = human_size(resolution.bytes)
    run.emit(document, f"{out}: {len(lock.references)} references, {size}, {len(difference)} changed")
    return 3 if resolution.failures or left else 0


def _refuse_incomplete(resolution: Everything, left: tuple[Item, ...], incomplete: bool) -> None:
    """A lock that leaves something out would be a quiet hole; only who asks for it gets it."""
    if incomplete:
        return
    hint = "mend it, or write what there is with --incomplete"
    failures = resolution.failures
    # Where nothing could be reached at all, that is the news, not that every single image is missing.
    wrong = [f for f in failures if isinstance(f.error, VerificationError)]
    away = [f for f in failures if isinstance(f.error, UnreachableError) and f.error.code != "not-found"]
    if wrong:
        first_wrong = wrong[0].error
        raise VerificationError(
            first_wrong.code,
            f"{len(wrong)} references are not what they must be: {wrong[0].reference.name}: {first_wrong.message}",
            items=[f"{failure.reference.name}: {failure.error.message}" for failure in failures],
            hint=first_wrong.hint,
        )
    listed = [f"{failure.reference.name}: {failure.error.message}" for failure in failures]
    if away:
        first = away[0].error
        raise UnreachableError(
            first.code, f"{len(failures)} references could not be resolved", items=listed, hint=first.hint or hint
        )
    listed += [f"{item.what}: {item.why}" for item in left]
    if listed:
        raise IncompleteError("unresolved", f"{len(listed)} items could not be resolved", items=listed, hint=hint)
