"""`index.json` as it changes: read again when somebody replaced it, written in one step under a lock.

Not here: what its entries mean (`index`).
"""

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from isthmus.oci import Descriptor
from isthmus.store import files
from isthmus.store.index import (
    Entry,
    Fingerprint,
    Index,
    StoredReference,
    encode_index,
    fingerprint,
    read_index,
    stored_references,
)


class Snapshot(msgspec.Struct, frozen=True):
    """The file at one moment, and its names by repository and tag."""

    mark: Fingerprint
    index: Index
    references: tuple[StoredReference, ...]
    by_entry: dict[bytes, StoredReference]
    by_tag: dict[tuple[str, str], Descriptor]


class IndexFile:
    """The file and what was last read of it. Safe for threads and beside other processes of ours."""

    def __init__(self, path: Path, lock: Path, temporary: Path, *, durable: bool) -> None:
        self._path = path
        self._lock_path = lock
        self._temporary = temporary
        self._durable = durable
        self._mutex = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._known: dict[bytes, Entry] = {}

    def mark(self) -> Fingerprint:
        """What changes when the file does."""
        return fingerprint(self._path)

    def current(self) -> Snapshot:
        """What the file says now. Raises `damaged-store`, or `invalid-input` where it is too large."""
        with self._mutex:
            mark = self.mark()  # before reading: a change in between is then seen the next time
            if self._snapshot is None or self._snapshot.mark != mark:
                self._snapshot = _snapshot(mark, self._read(), self._snapshot)
            return self._snapshot

    def _read(self) -> Index:
        index = read_index(self._path, self._known)
        self._known = {entry.raw: entry for entry in index.entries}
        return index

    def change(self, work: Callable[[Index], Index]) -> None:
        """Replace the file by what `work` makes of it; the same bytes are not written again."""
        with files.locked(self._lock_path):
            with self._mutex:
                old = self._read()
            new = work(old)
            if new is old:
                return
            with self._mutex:  # most of it is read again soon
                self._known = {entry.raw: entry for entry in new.entries}
            data = encode_index(new)
            if files.regular_size(self._path) == len(data) and files.read_limited(self._path, len(data)) == data:
                return
            files.replace_file(self._path, data, self._temporary, durable=self._durable)


def _snapshot(mark: Fingerprint, index: Index, before: Snapshot | None) -> Snapshot:
    by_entry = stored_references(index, before.by_entry if before else None)
    references = tuple(by_entry.values())
    by_tag: dict[tuple[str, str], Descriptor] = {}
    pinned: dict[tuple[str, str], Descriptor] = {}
    for stored in references:
        reference = stored.reference
        if reference.tag:
            kind = pinned if reference.digest else by_tag
            kind.setdefault((reference.repository, reference.tag), stored.descriptor)
    return Snapshot(
        mark, index, references, by_entry, pinned | by_tag
    )  # name:tag counts for more than name:tag@digest
