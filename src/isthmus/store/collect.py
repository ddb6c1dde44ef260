"""Garbage collection: what no name leads to, and no running pull relies on, goes.

Mark walks from every entry of `index.json` through indexes and manifests, and from every manifest that is
kept to its referrers. Sweep removes the rest where it is older than the grace period, in small batches under
the sweep lock; before each batch the leases are read again, and where `index.json` has changed the mark is
made again. A kept manifest that is damaged stops everything before anything is removed.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from isthmus.errors import IncompleteError, IsthmusError
from isthmus.oci import Descriptor, Digest, parse_manifest
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.store import files, leases
from isthmus.store.blobs import BlobDirectory
from isthmus.store.index import Entry, Fingerprint, Index

GRACE_SECONDS = 3600.0
_BATCH = 200
_ANY_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class CollectResult(msgspec.Struct, frozen=True):
    """What a collection removed, or would remove: blobs, partial files, bytes of both, and which blobs."""

    blobs: int
    bytes: int
    partials: int
    kept: int
    digests: tuple[Digest, ...]
    dry_run: bool = False


def mark(
    blobs: BlobDirectory, entries: Iterable[Entry], referrers: Callable[[Digest], Sequence[Digest]]
) -> set[Digest]:
    """Every digest that is needed, whether its blob is there or not. Raises `damaged-store`."""
    entries = tuple(entries)
    needed: set[Digest] = set()
    _walk(blobs, [e.descriptor for e in entries if not e.referrer_of], needed, referrers)
    for entry in entries:  # an entry made for its subject's sake, whatever the database knows of it
        if entry.referrer_of in needed:
            _walk(blobs, [entry.descriptor], needed, referrers)
    return needed


def _walk(
    blobs: BlobDirectory,
    roots: Iterable[Descriptor],
    needed: set[Digest],
    referrers: Callable[[Digest], Sequence[Digest]],
) -> None:
    todo = [(root.digest, root.is_manifest, True) for root in roots]
    seen: set[Digest] = set()
    while todo:
        digest, is_manifest, may_lead_on = todo.pop()
        needed.add(digest)
        if digest in seen or not may_lead_on:
            continue
        seen.add(digest)
        todo += [(referrer, True, True) for referrer in referrers(digest)]
        todo += _parts(blobs, digest, is_manifest=is_manifest)


def _parts(blobs: BlobDirectory, digest: Digest, *, is_manifest: bool) -> list[tuple[Digest, bool, bool]]:
    """What a manifest names: digest, whether it is a manifest, and whether to look into it."""
    size = blobs.size(digest)
    if size is None or (not is_manifest and size > MAX_MANIFEST_SIZE):
        return []
    try:
        raw = blobs.read(digest, MAX_MANIFEST_SIZE)
    except IncompleteError:
        return []  # collected or replaced at this moment by somebody else
    try:
        manifest = parse_manifest(raw, algorithm=digest.algorithm)
    except IsthmusError:
        # Of a kind that we do not know. To be safe, whatever looks like a digest in it is kept.
        return [(Digest(found.decode()), False, False) for found in _ANY_DIGEST.findall(raw)]
    parts = [(blob.digest, False, False) for blob in manifest.blobs]
    return parts + [(child.digest, child.is_manifest, True) for child in manifest.manifests]


class Sweep:
    """Removes what is not needed. `marked` gives what `index.json` leads to now, and its fingerprint."""

    def __init__(
        self,
        blobs: BlobDirectory,
        lease_directory: Path,
        marked: Callable[[], tuple[set[Digest], Fingerprint]],
        current: Callable[[], Fingerprint],
    ) -> None:
        self._blobs = blobs
        self._leases = lease_directory
        self._marked = marked
        self._current = current

    def run(self, grace_seconds: float, *, dry_run: bool) -> tuple[list[tuple[Digest, int]], int]:
        """Remove (unless `dry_run`) and return the blobs removed with their sizes, and the number kept."""
        needed, fingerprint = self._marked()
        older_than = time.time() - grace_seconds
        removed: list[tuple[Digest, int]] = []
        total = 0
        for batch in _batches(self._blobs):
            total += len(batch)
            with files.locked(leases.sweep_lock(self._leases)):
                protected = leases.protected(self._leases)
                while fingerprint != self._current():
                    needed, fingerprint = self._marked()
                for digest, size in batch:
                    if digest not in needed and digest not in protected and self._is_old(digest, older_than):
                        removed.append((digest, size))
                        if not dry_run:
                            self._blobs.discard(digest)
        return removed, total - len(removed)

    def _is_old(self, digest: Digest, older_than: float) -> bool:
        changed = self._blobs.changed(digest)
        return changed is not None and changed <= older_than


def _batches(blobs: BlobDirectory) -> Iterator[list[tuple[Digest, int]]]:
    batch: list[tuple[Digest, int]] = []
    for item in blobs:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def without_gone_referrers(index: Index, blobs: BlobDirectory) -> Index:
    """The index without the entries that were there for a subject's sake and whose manifest is gone."""
    entries = tuple(e for e in index.entries if not e.referrer_of or blobs.size(e.descriptor.digest) is not None)
    return index if len(entries) == len(index.entries) else Index(entries=entries, extra=index.extra)
