"""What `mirror` does about things that no registry outside has: they go from the workspace's store."""

from collections.abc import Sequence

from isthmus.cli.command import Run
from isthmus.cli.targets import Target
from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry


def push_stored(run: Run, target: Target, entries: Sequence[LockEntry]) -> tuple[str, ...]:
    """Push files, git repositories, packages and classic charts; the names of those that the store lacks."""
    wanted = [entry for entry in entries if not entry.in_registry]
    if not wanted:
        return ()
    from isthmus.store import Store
    from isthmus.transfer import push

    try:
        store = Store.open(run.store_path)
    except UsageError as error:
        if error.code != "store-not-found":
            raise
        return _said(run, [entry.name for entry in wanted])
    with store:
        held = {stored.name: stored for stored in store.references()}
        found = [(entry, held.get(entry.stored_name)) for entry in wanted]
        there = [stored for entry, stored in found if stored and stored.descriptor.digest == entry.digest]
        if there:
            push(store, target.registry, target.mapping, there)
        present = {stored.name for stored in there}
    return _said(run, [entry.name for entry in wanted if entry.stored_name not in present])


def _said(run: Run, missing: list[str]) -> tuple[str, ...]:
    for name in missing:
        run.note(f"missing: {name} is in no registry outside; 'isthmus pull' brings it into the store first")
    return tuple(missing)
