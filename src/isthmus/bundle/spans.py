"""Digests of blobs that several records share, carried from record to record and from volume to volume.

A volume that ends within a blob is not known to be right until that blob has ended.
"""

import hashlib
from typing import TYPE_CHECKING

from isthmus.bundle.layout import RecordHeader

if TYPE_CHECKING:
    from hashlib import _Hash


class Spans:
    """The blobs that have begun and not ended."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, _Hash]] = {}

    def copy(self) -> "Spans":
        """The same state, to return to where a record turns out to be damaged."""
        other = Spans()
        other._open = dict(self._open)
        return other

    def __bool__(self) -> bool:
        return bool(self._open)

    def begin(self, record: RecordHeader) -> "_Hash | None":
        """A hash to feed with the record's payload; None where the blob's beginning was not seen."""
        if record.offset == 0:
            return hashlib.new(record.digest.algorithm)
        reached, digest = self._open.get(record.digest, (-1, None))
        return digest.copy() if digest is not None and reached == record.offset else None

    def keep(self, record: RecordHeader, digest: "_Hash") -> bool:
        """Take the hash of an intact record; False where the blob has ended and is not what it should be."""
        end = record.offset + record.length
        if end < record.total:
            self._open[record.digest] = (end, digest)
            return True
        if digest.hexdigest() != record.digest.hex:
            return False
        self._open.pop(record.digest, None)
        return True
