"""`isthmus refresh`: newer databases, rules and indexes, and a bundle of only these."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import connect_upstreams, connection_options, parse_platforms, upstream_options
from isthmus.cli.output import human_size
from isthmus.cli.things import pull_rest, resolve_everything
from isthmus.errors import IncompleteError, UsageError
from isthmus.inventory.lock import Lock, LockEntry, changed, read_lock, write_lock
from isthmus.inventory.model import Ref
from isthmus.oci import Descriptor, Platform

if TYPE_CHECKING:
    from isthmus.store import Store


@click.command("refresh")
@click.option(
    "--lock", "lock_path", type=click.Path(path_type=Path), default=DEFAULT_LOCK, show_default=True,
    help="The lock, which is updated.",
)  # fmt: skip
@click.option("--pack", "out", type=click.Path(path_type=Path), metavar="DIR", help="Make a bundle of them here.")
@click.option(
    "--since", "receipts", multiple=True, type=click.Path(path_type=Path), metavar="RECEIPT",
    help="Leave out of the bundle what the site says it holds; given several times, what all the sites hold.",
)  # fmt: skip
@click.option(
    "--receipt-key", "receipt_keys", multiple=True, type=click.Path(path_type=Path),
    help="Require receipts to be signed by this public key.",
)  # fmt: skip
@click.option("--sign", "key_paths", multiple=True, type=click.Path(path_type=Path), help="Sign the bundle.")
@click.option("--sequence", type=click.IntRange(0), help="A number that grows with every bundle for a site.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked for anew; change nothing.")
@upstream_options
@common_options
def command(
    run: Run,
    lock_path: Path,
    out: Path | None,
    receipts: tuple[Path, ...],
    receipt_keys: tuple[Path, ...],
    key_paths: tuple[Path, ...],
    sequence: int | None,
    dry_run: bool,
    upstreams: tuple[str, ...],
    platforms: tuple[str, ...],
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Resolve and pull again only what becomes stale: all else in the lock stays as it is.

    \b
    Examples:
      isthmus refresh
      isthmus refresh --pack update/ --since site.receipt --sign keys/isthmus.key
    """
    if (receipts or key_paths) and out is None:
        raise UsageError("wrong-usage", "--since and --sign are about a bundle", hint="give --pack DIR as well")
    old = read_lock(lock_path)
    wanted = [entry for entry in old.references if entry.max_age]
    if not wanted:
        raise UsageError(
            "wrong-usage", "nothing in the lock becomes stale", where=str(lock_path),
            hint="say refresh under platform.add, or platform.perishables, and lock again",
        )  # fmt: skip
    if dry_run:
        names = [entry.name for entry in wanted]
        run.emit({"dry_run": True, "names": names}, "\n".join(f"would ask for {name}" for name in names))
        return 0
    options = connection_options(ca, insecure, plain_http, jobs)
    chosen = parse_platforms(platforms or old.platforms, run.config())
    from isthmus.store import Store
    from isthmus.transfer import pull

    with connect_upstreams(options, upstreams, run.config()) as registries:
        refs = [Ref(entry.kind, entry.name) for entry in wanted]
        found = resolve_everything(run, refs, registries, options, upstreams, chosen, jobs, old, renew=True)
        if found.failures:
            listed = [f"{failure.reference.name}: {failure.error.message}" for failure in found.failures]
            raise IncompleteError("unresolved", f"{len(listed)} things could not be resolved", items=listed)
        fresh = _with_evidence(found.entries, old)
        lock = _merged(old, fresh)
        with Store.create(run.store_path) as held:
            with run.progress("pull") as report:
                images = pull(fresh, held, registries, chosen, jobs, report)
            things = pull_rest(run, fresh, held, options, upstreams, jobs)
            write_lock(lock_path, lock)
            bundle = (
                _pack(run, held, fresh, lock_path, chosen, out, receipts, receipt_keys, key_paths, sequence)
                if out
                else {}
            )
    document = {
        "lock": str(lock_path),
        "refreshed": len(wanted),
        "changed": changed(old, lock),
        "blobs": images.blobs + (things.blobs if things else 0),
        "bytes": images.bytes + (things.bytes if things else 0),
        **bundle,
    }

    def show() -> None:
        for line in document["changed"]:
            click.echo(line)
        size = human_size(document["bytes"])
        click.echo(f"{document['refreshed']} asked for, {len(document['changed'])} changed, {size} pulled")
        for volume in document.get("volumes", ()):
            click.echo(f"  {volume['file']}  {volume['size']} bytes")

    run.emit(document, show)
    return 0


def _with_evidence(entries: Sequence[LockEntry], old: Lock) -> list[LockEntry]:
    before = {entry.key: entry for entry in old.references}
    return [
        msgspec.structs.replace(entry, evidence=before[entry.key].evidence) if entry.key in before else entry
        for entry in entries
    ]


def _merged(old: Lock, fresh: Sequence[LockEntry]) -> Lock:
    """The lock with these entries instead of the old ones; referrers that came along are entries as well."""
    found = {entry.key: entry for entry in old.references} | {entry.key: entry for entry in fresh}
    return msgspec.structs.replace(old, references=tuple(found[key] for key in sorted(found)))


def _pack(
    run: Run,
    store: "Store",
    entries: Sequence[LockEntry],
    lock_path: Path,
    platforms: tuple[Platform, ...],
    out: Path,
    receipts: tuple[Path, ...],
    receipt_keys: tuple[Path, ...],
    key_paths: tuple[Path, ...],
    sequence: int | None,
) -> dict[str, Any]:
    from isthmus.bundle import (
        BundleReference,
        held_by_all,
        load_private_key,
        load_public_key,
        pack,
        plan_bundle,
        read_receipt,
    )
    from isthmus.bundle.companions import for_operator
    from isthmus.bundle.documents import MAX_LOCK, with_lock
    from isthmus.bundle.medium import open_regular

    keys = [load_public_key(path) for path in receipt_keys]
    since = held_by_all(read_receipt(path, keys).blobs for path in receipts) if receipts else None
    references = [
        BundleReference(
            entry.stored_name,
            Descriptor(entry.media_type, entry.digest, store.blob_size(entry.digest) or 0),
            entry.kind,
            platforms,
        )
        for entry in entries
    ]
    config = run.config()
    name = f"{config.platform.name if config else 'bundle'}-refresh"
    with open_regular(lock_path) as file:
        # The whole lock, though some of it is carried: the site has the rest, and must know the new digests.
        companions = with_lock(for_operator(), file.at(0, MAX_LOCK), lambda _: True)
    plan = plan_bundle(store, references, None, name, since, sequence=sequence, companions=companions)
    with run.progress("pack") as report:
        result = pack(plan, store, out, [load_private_key(path) for path in key_paths], report)
    return {
        "bundle": result.bundle,
        "volumes": [{"file": str(v.file), "size": v.size, "sha256": v.sha256} for v in result.volumes],
        "deltas": result.deltas,
        "full_bytes": result.full_bytes,
    }
