"""`upgrade`: what must be carried before a site can change to another lock, and how many bytes that is.

A blob counts once, and not where the site has it. Exact where the manifests of the new release are at hand (a
store that it was pulled into); otherwise the size that the lock has, which what the site holds may make less.
Not here: finding out what the site lacks (`registry`, `store`).
"""

from collections.abc import Callable, Iterable

import msgspec

from isthmus.bundle import Receipt
from isthmus.check.locked import platforms_of
from isthmus.check.result import CheckResult
from isthmus.errors import IsthmusError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Descriptor, Digest
from isthmus.store import Store
from isthmus.transfer.tree import walk

Held = Callable[[LockEntry, Descriptor], bool]
"""Whether the site has a blob or manifest that this entry needs."""


class Carry(msgspec.Struct, frozen=True):
    """One reference to carry, and the bytes that nothing before it in the list brings; `exact`, or at most."""

    kind: str
    name: str
    digest: str
    bytes: int
    exact: bool


class Upgrade(msgspec.Struct, frozen=True):
    """Everything to carry, sorted by kind and name; `bytes` is their sum, `ready` counts what is there already."""

    ready: int
    carry: tuple[Carry, ...]
    bytes: int
    exact: bool


def upgrade(entries: Iterable[LockEntry], there: CheckResult, held: Held, known: Store | None = None) -> Upgrade:
    """What of the new lock's `entries` must be carried, by a check of the site for them.

    `held` is asked for every blob of what is missing; `known` is a store with the new release's manifests.
    """
    lacking = {finding.name for finding in (*there.missing, *there.stale)}
    counted: set[Digest] = set()
    carry = []
    ordered = sorted(entries, key=lambda entry: entry.key)
    for entry in ordered:
        if entry.name in lacking:
            parts = _parts(entry, known)
            size = sum(
                part.size
                for part in dict.fromkeys(parts or ())
                if not _seen(part, counted) and not held(entry, part)
            )
            exact = parts is not None
            carry.append(Carry(entry.kind, entry.name, str(entry.digest), size if exact else entry.size, exact))
    return Upgrade(
        ready=len(ordered) - len(carry),
        carry=tuple(carry),
        bytes=sum(each.bytes for each in carry),
        exact=all(each.exact for each in carry),
    )


def check_receipt(entries: Iterable[LockEntry], receipt: Receipt) -> CheckResult:
    """Which references a site says that it has, under their names and with their own blob.

    Parts of an index are not looked at: a receipt lists only what the site's store holds whole.
    """
    from isthmus.check.locked import reference_of
    from isthmus.check.result import Finding

    blobs = {blob.digest for blob in receipt.blobs}
    names = {(reference.name, reference.digest) for reference in receipt.references}
    missing = []
    present = 0
    for entry in entries:
        reference = reference_of(entry)
        if entry.digest not in blobs:
            missing.append(Finding(entry.name, "the receipt does not have it", str(entry.digest)))
        elif names and (str(reference), entry.digest) not in names:
            missing.append(Finding(entry.name, "its content is there, but the name is not", str(entry.digest)))
        else:
            present += 1
    return CheckResult(present, tuple(sorted(missing)))


def held_by_receipt(receipt: Receipt) -> Held:
    """Whether the receipt lists it."""
    blobs = {blob.digest for blob in receipt.blobs}
    return lambda _, part: part.digest in blobs


def _seen(part: Descriptor, counted: set[Digest]) -> bool:
    known = part.digest in counted
    counted.add(part.digest)
    return known


def _parts(entry: LockEntry, known: Store | None) -> list[Descriptor] | None:
    """Every manifest and blob of an entry; None where its manifests are not at hand."""
    if known is None or known.blob_size(entry.digest) is None:
        return None
    try:
        found: list[Descriptor] = []
        platforms = platforms_of(entry)
        roots = [entry.digest, *(referrer.digest for referrer in entry.referrers)]
        for digest in roots:
            for manifest in walk(known.manifest_by_digest(digest), platforms, known.manifest_by_digest):
                found.append(manifest.descriptor())
                found += [blob for blob in manifest.blobs if not blob.is_foreign]
    except IsthmusError:
        return None
    return found
