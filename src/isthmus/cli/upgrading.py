"""`check --upgrade`: what must be carried first. Not here: how it is counted (`check.upgrade`)."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.check import check, check_store
from isthmus.cli.asking import Where
from isthmus.cli.output import human_size
from isthmus.cli.siting import SiteRegistry
from isthmus.inventory.lock import LockEntry, read_lock
from isthmus.oci import Descriptor
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.check.upgrade import Held
    from isthmus.registry import Registry


def say_what_to_carry(
    where: Where, path: Path, store: Path | None, receipt: Path | None, contents: Path | None
) -> int:
    """Show what a new lock needs and the site lacks; the exit status. Raises as reading locks and asking does."""
    from isthmus.check.upgrade import Held, check_receipt, held_by_receipt, upgrade

    entries = read_lock(path).references
    with ExitStack() as stack:
        at = contents or where.run.store_path
        known = stack.enter_context(Store.open(at)) if contents or at.is_dir() else None
        held: Held
        if receipt is not None:
            from isthmus.bundle.receipt import read_receipt

            said = read_receipt(receipt)
            there, held = check_receipt(entries, said), held_by_receipt(said)
        elif store is not None:
            site_store = stack.enter_context(Store.open(store))
            there = check_store(entries, site_store)
            held = lambda _, part: site_store.blob_size(part.digest) is not None  # noqa: E731
        else:
            site = where.site()
            target = stack.enter_context(where.connect(site))
            there = check(entries, target, site.mapping, where.jobs, deep=True)
            held = _held_by(target, site)
        result = upgrade(entries, there, held, known)

    def show() -> None:
        for each in result.carry:
            click.echo(f"carry: {each.name} ({'' if each.exact else 'at most '}{human_size(each.bytes)})")
        amount = f"{'' if result.exact else 'at most '}{human_size(result.bytes)}"
        click.echo(
            f"{len(result.carry)} of {len(entries)} references must be carried first, {amount}"
            if result.carry
            else f"all {len(entries)} references are there"
        )

    where.run.emit(result, show)
    return 3 if result.carry else 0


def _held_by(target: "Registry", site: SiteRegistry) -> "Held":
    from isthmus.check.locked import reference_of

    def held(entry: LockEntry, part: Descriptor) -> bool:
        reference = reference_of(entry)
        if reference is None:
            return False
        repository = site.mapping.repository(reference)
        if part.is_manifest:
            return target.has_manifest(repository, part.digest)
        return target.has_blob(repository, part)

    return held
