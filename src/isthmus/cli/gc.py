"""`isthmus gc`: free what nothing in a store needs."""

from pathlib import Path

import click

from isthmus.cli.command import Run, common_options
from isthmus.cli.output import human_size
from isthmus.inventory.lock import read_lock
from isthmus.store import Elsewhere, Store


@click.command("gc")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option(
    "--lock",
    "locks",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Forget names that this lock does not have; with several, that none of them has.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=3600,
    show_default=True,
    help="Leave alone what is younger than so many seconds.",
)
@click.option(
    "--blobs",
    metavar="s3://BUCKET/PREFIX?endpoint=URL",
    default="",
    help="The object storage that `isthmus serve --blobs` keeps blobs in; without it, nothing there is removed.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be freed; change nothing.")
@common_options
def command(run: Run, store: Path | None, locks: tuple[Path, ...], grace: float, blobs: str, dry_run: bool) -> int:
    """Remove content that no name in the store leads to. Safe beside a pull, an unpack or a registry that serves.

    With --lock, names that no lock has go first. Without it, no name is ever removed.

    \b
    Examples:
      isthmus gc --dry-run
      isthmus gc --store /srv/store --lock release-7.lock --lock release-8.lock
      isthmus gc --store /srv/store --blobs 's3://blobs/site?endpoint=https://s3.site.internal'
    """
    with Store.open(store or run.store_path, also=_storage(blobs)) as held:
        kept = {entry.stored_name for path in locks for entry in read_lock(path).references}
        forgotten = [stored.name for stored in held.references() if locks and stored.name not in kept]
        if forgotten and not dry_run:
            held.set_references((), remove=forgotten)
        result = held.collect(grace_seconds=grace, dry_run=dry_run)
    document = {
        "forgotten": forgotten,
        "blobs": result.blobs,
        "partials": result.partials,
        "bytes": result.bytes,
        "kept": result.kept,
        "dry_run": dry_run,
    }
    names = "".join(f"{'would forget' if dry_run else 'forgot'} {name}\n" for name in forgotten)
    verb = "would free" if dry_run else "freed"
    note = "; with --dry-run, content of names to forget is not counted" if dry_run and forgotten else ""
    run.emit(document, f"{names}{verb} {result.blobs} blobs, {human_size(result.bytes)}{note}")
    return 0


def _storage(address: str) -> Elsewhere | None:
    if not address:
        return None
    from isthmus.store.object_storage import open_storage, parse_storage

    return open_storage(parse_storage(address))
