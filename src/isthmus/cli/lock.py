"""`isthmus lock`: resolve everything that was found to digests."""

from pathlib import Path

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import connect_upstreams, connection_options, parse_platforms, upstream_options
from isthmus.cli.finding import references_to_lock, refuse_incomplete, scan_platform
from isthmus.cli.output import human_size
from isthmus.cli.things import resolve_everything
from isthmus.inventory.lock import Lock, changed, read_lock, write_lock


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
    if not incomplete:
        # A lock that leaves something out would be a quiet hole; only who asks for it gets it.
        refuse_incomplete(resolution.failures, left, "mend it, or write what there is with --incomplete")
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
