"""`isthmus pull`: bring what the lock names into the store."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import (
    connect_upstreams,
    connection_options,
    parse_platforms,
    skip_foreign_option,
    upstream_options,
)
from isthmus.cli.output import counted, human_size
from isthmus.errors import UsageError
from isthmus.inventory.lock import Lock, read_lock
from isthmus.transfer.settled import count_settled

if TYPE_CHECKING:
    from isthmus.oci import Descriptor, Platform
    from isthmus.registry import ConnectionOptions


@click.command("pull")
@click.argument("sources", nargs=-1, metavar="[docker-archive:FILE…]")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    help="The lock.  [default: isthmus.lock; with archives, if present]",
)
@click.option("--store", type=click.Path(path_type=Path), help="The store to fill.  [default: WORKSPACE/store]")
@click.option(
    "--accept-new-digest",
    is_flag=True,
    help="Take images of archives that differ from the lock, and write their digests into it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be pulled; change nothing.")
@skip_foreign_option
@upstream_options
@common_options
def command(
    run: Run,
    sources: tuple[str, ...],
    lock_path: Path | None,
    store: Path | None,
    accept_new_digest: bool,
    dry_run: bool,
    skip_foreign: bool,
    upstreams: tuple[str, ...],
    platforms: tuple[str, ...],
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Bring every blob that the lock needs into the store, each once, verified while it is read.

    What was pulled before is not pulled again; after an interruption, run the same command again.

    With archives, no registry is asked: their images come into the store, with the lock's digest where the
    archive has it. docker save loses it unless Docker keeps images in containerd; then exit status 3 says so.
    An archive may be plain, gzip or zstd, of docker, podman, nerdctl, ctr or skopeo, or an OCI layout in a tar.

    \b
    Examples:
      isthmus pull
      isthmus pull --lock release-7.lock --jobs 8
      isthmus pull docker-archive:images.tar docker-archive:more.tar.gz
    """
    where = store or run.store_path
    if sources:
        from isthmus.cli.archives import pull_archives

        present = lock_path or (DEFAULT_LOCK if DEFAULT_LOCK.exists() else None)
        return pull_archives(
            run,
            sources,
            where,
            present,
            platforms,
            jobs,
            accept_new_digest=accept_new_digest,
            skip_foreign=skip_foreign,
            dry_run=dry_run,
        )
    if accept_new_digest:
        raise UsageError("wrong-usage", "--accept-new-digest is about archives, and none is given")
    config = run.config()
    lock = read_lock(lock_path or DEFAULT_LOCK)
    if dry_run:
        size = sum(entry.size for entry in lock.references)
        planned = {"dry_run": True, "references": len(lock.references), "bytes_at_most": size}
        run.emit(
            planned,
            f"would pull {counted(len(lock.references), 'reference')}, at most {human_size(size)}, into {where}",
        )
        return 0
    chosen = parse_platforms(platforms or lock.platforms, config)
    images = [entry for entry in lock.references if entry.in_registry]
    started = time.monotonic()
    settled = count_settled(where, images, chosen)
    if settled is not None and len(images) == len(lock.references):
        # Before anything is loaded that only moving needs.
        _show(run, where, 0, 0, settled, time.monotonic() - started)
        return 0
    options = connection_options(ca, insecure, plain_http, jobs)
    _bring(run, lock, where, options, upstreams, chosen, jobs, skip_foreign=skip_foreign)
    return 0


def _bring(
    run: Run,
    lock: Lock,
    where: Path,
    options: "ConnectionOptions",
    upstreams: tuple[str, ...],
    platforms: "tuple[Platform, ...]",
    jobs: int,
    *,
    skip_foreign: bool,
) -> None:
    from isthmus.cli.things import pull_rest
    from isthmus.store import Store
    from isthmus.transfer import pull

    with (
        Store.create(where) as held,
        connect_upstreams(options, upstreams, run.config()) as registries,
        run.progress("pull") as report,
    ):
        result = pull(lock.references, held, registries, platforms, jobs, report, skip_foreign=skip_foreign)
        blobs, moved, reused, seconds = result.blobs, result.bytes, result.skipped, result.seconds
        if things := pull_rest(run, lock.references, held, options, upstreams, jobs):
            blobs, moved = blobs + things.blobs, moved + things.bytes
            reused, seconds = reused + things.reused, seconds + things.seconds
    _show(run, where, blobs, moved, reused, seconds, result.skipped_foreign)


def _show(
    run: Run,
    where: Path,
    blobs: int,
    moved: int,
    reused: int,
    seconds: float,
    foreign: "Sequence[Descriptor]" = (),
) -> None:
    document: dict[str, Any] = {"blobs": blobs, "bytes": moved, "reused": reused, "seconds": round(seconds, 3)}
    if foreign:
        from isthmus.cli.targets import foreign_document

        document |= foreign_document(foreign)

    def show() -> None:
        if foreign:
            from isthmus.cli.targets import show_foreign

            show_foreign(foreign)
        amount = f"{counted(blobs, 'blob')}, {human_size(moved)} in {seconds:.1f} s"
        click.echo(f"{where}: {amount}, {reused} reused")

    run.emit(document, show)
