"""`isthmus pull docker-archive:FILE…`: bring images in files into the store. Not here: reading the files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from isthmus.cli.command import Run
from isthmus.cli.connecting import parse_platforms
from isthmus.cli.output import human_size
from isthmus.cli.targets import foreign_document, show_foreign
from isthmus.errors import UsageError
from isthmus.inventory.lock import Lock, read_lock, write_lock
from isthmus.store import Store
from isthmus.transfer.archive import Brought, BroughtImage, bring

KINDS = ("docker-archive", "oci-archive")


def archive_paths(sources: Sequence[str]) -> list[Path]:
    """The files of `docker-archive:FILE`; raises UsageError (`invalid-source`) for anything else."""
    paths = []
    for text in sources:
        kind, colon, path = text.partition(":")
        if kind not in KINDS or not colon or not path:
            raise UsageError(
                "invalid-source",
                f"{text[:200]!r} is not an archive",
                hint="write docker-archive:FILE, or nothing to pull what the lock names",
            )
        paths.append(Path(path))
    return paths


def pull_archives(
    run: Run,
    sources: Sequence[str],
    store: Path,
    lock_path: Path | None,
    platforms: tuple[str, ...],
    jobs: int,
    *,
    accept_new_digest: bool,
    skip_foreign: bool,
    dry_run: bool,
) -> int:
    """Bring them in, say what came, and return the exit status; 3 where something did not or is missing."""
    paths = archive_paths(sources)
    lock = read_lock(lock_path) if lock_path else Lock()
    chosen = parse_platforms(platforms or lock.platforms, run.config())
    held = Store(store) if dry_run and not store.exists() else Store.create(store)
    with held, run.progress("pull") as report:
        result = bring(
            paths,
            held,
            lock.references,
            chosen,
            accept_new_digest=accept_new_digest,
            skip_foreign=skip_foreign,
            dry_run=dry_run,
            jobs=jobs,
            progress=report,
        )
    if result.accepted and lock_path and not dry_run:
        write_lock(lock_path, _accepted(lock, result))
    run.emit(_document(result, dry_run), lambda: _show(result, store, lock_path, dry_run))
    return 0 if result.is_complete else 3


def _accepted(lock: Lock, result: Brought) -> Lock:
    """The lock with the digests that the operator accepts, so that pack and check mean what the store has."""
    new = {entry.key: entry for entry in result.accepted}
    return msgspec.structs.replace(lock, references=tuple(new.get(entry.key, entry) for entry in lock.references))


def _document(result: Brought, dry_run: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "blobs": result.blobs,
        "bytes": result.bytes,
        "reused": result.reused,
        "seconds": round(result.seconds, 3),
        "archives": result.archives,
        "accepted": [entry.name for entry in result.accepted],
        **foreign_document(result.skipped_foreign),
    }
    return {"dry_run": True, **document} if dry_run else document


def _show(result: Brought, store: Path, lock_path: Path | None, dry_run: bool) -> None:
    for archive in result.archives:
        click.echo(f"{archive.file}:")
        for image in archive.images:
            click.echo(f"  {_line(image)}")
            for what in image.missing:
                click.secho(f"    missing: {what}", fg="red")
    images = [image for archive in result.archives for image in archive.images]
    if any(image.problem and image.locked for image in images):
        click.echo(
            "  take them as they are, and change the lock, with --accept-new-digest; or pull from a registry"
        )
    if any(image.missing for image in images):
        click.echo(
            "  what is missing can come from a registry with 'isthmus pull', or be left out with --platform"
        )
    show_foreign(result.skipped_foreign)
    for entry in result.accepted:
        click.echo(f"{lock_path}: {entry.name} {'would be' if dry_run else 'is now'} {entry.digest}")
    amount = f"{result.blobs} blobs, {human_size(result.bytes)} in {result.seconds:.1f} s, {result.reused} reused"
    click.echo(f"would bring them into {store}" if dry_run else f"{store}: {amount}")


def _line(image: BroughtImage) -> str:
    name = image.name or str(image.digest)
    if image.problem:
        return click.style(f"{name}: not brought: {image.problem}", fg="red")
    if image.restored:
        return f"{name}: {image.digest}, as in the lock"
    if image.locked:
        return click.style(
            f"{name}: digest differs from the lock: {image.locked} is now {image.digest}", fg="yellow"
        )
    return f"{name}: {image.digest}"
