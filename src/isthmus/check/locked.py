"""What an entry of a lock needs to be there. Only reading of names and platforms; nothing is asked."""

from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Platform, Reference


def reference_of(entry: LockEntry) -> Reference | None:
    """The name of an entry in a store, or None where it has none, as in locks of former versions."""
    if not entry.in_registry and not entry.reference:
        return None
    try:
        return Reference.parse(entry.stored_name)
    except UsageError as error:
        raise UsageError("invalid-lock", error.message, where=entry.name) from error


def platforms_of(entry: LockEntry) -> tuple[Platform, ...]:
    """The platforms that were locked; none means all."""
    return tuple(Platform.parse(text) for text in entry.platforms)
