"""What an entry of a lock needs to be there. Only reading of names and platforms; nothing is asked."""

from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Platform, Reference

OCI_KINDS = frozenset({"image", "artifact", "chart"})
"""The kinds of reference that live in a registry."""


def reference_of(entry: LockEntry) -> Reference | None:
    """The name of an entry as a reference, or None where its kind is not one of a registry's."""
    if entry.kind not in OCI_KINDS:
        return None
    try:
        return Reference.parse(entry.name.removeprefix("oci://"))
    except UsageError as error:
        raise UsageError("invalid-lock", error.message, where=entry.name) from error


def platforms_of(entry: LockEntry) -> tuple[Platform, ...]:
    """The platforms that were locked; none means all."""
    return tuple(Platform.parse(text) for text in entry.platforms)
