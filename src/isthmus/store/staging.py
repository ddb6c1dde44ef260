"""Blobs that arrive in pieces, in any order, from several volumes: a directory beside the store.

`parts/ALGORITHM-HEX` takes the bytes at their offsets; `parts/ALGORITHM-HEX.ranges` is a journal of the
ranges that are there, a line appended after each piece. A kill loses at most the pieces whose line is
missing. `complete` hashes the whole before it gets its final name under `blobs/`, from where
`Store.adopt` takes it. Nothing here touches a store, so that a bad bundle leaves it as it was.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from isthmus.errors import UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Verifier
from isthmus.store import files, ingest
from isthmus.store.blobs import BlobDirectory, FileReader, hash_rest
from isthmus.store.hashing import AT_ONCE, Hashing
from isthmus.store.pieces import OPENED, Chains, Part, Ranges, SegmentWriter, holes


class Staging:
    """A content-addressed directory with no index. Several threads and processes may fill it at once."""

    def __init__(self, directory: str | os.PathLike[str], *, durable: bool = False) -> None:
        self.path = Path(directory)
        self.durable = durable
        self.blobs = BlobDirectory(self.path / "blobs")
        self._parts = self.path / "parts"
        self._ingest = self.path / "ingest"
        self._chains = Chains()
        with files.io_errors(self.path):
            os.makedirs(self.path, exist_ok=True)
        files.make_directory(self.blobs.root)
        files.make_directory(self._parts)
        self.blobs.check()

    def have(self, digest: Digest, size: int) -> bool:
        """Whether the blob is here, whole and verified."""
        return self.blobs.size(digest) == size

    def missing(self, digest: Digest, size: int) -> Ranges:
        """The ranges (from, to) that are not here yet, in bytes; empty when `complete` can be called."""
        if self.have(digest, size):
            return []
        return holes(self._part(digest).ranges(), size)

    def write_blob(
        self, digest: Digest, size: int, hashing: Hashing = AT_ONCE
    ) -> ingest.FileWriter | ingest.HeldWriter:
        """A writer for a blob that comes whole and in order: hashed on the way, published by `commit`."""
        blob = Descriptor(media_type="", digest=digest, size=size)
        return ingest.begin(self._ingest, self.blobs, blob, durable=self.durable, hashing=hashing)

    def write_at(
        self, digest: Digest, size: int, offset: int, length: int, hashing: Hashing = AT_ONCE
    ) -> "SegmentWriter":
        """A writer for the piece `offset` … `offset + length` of a blob of `size` bytes.

        The piece counts from its `commit` on, to be called once the caller has verified it. Where the piece
        is here already the writer's `offset` is at its end. Raises UsageError `invalid-input`.
        """
        if not 0 <= offset <= offset + length <= size:
            raise UsageError("invalid-input", f"{digest} of {size} bytes has no piece {offset}+{length}")
        end = offset + length
        part = self._part(digest)
        while True:
            if all(hole_end <= offset or hole >= end for hole, hole_end in self.missing(digest, size)):
                return SegmentWriter(None, part, end, end)
            descriptor = files.open_for_writing(part.data)
            if files.try_lock(descriptor, part.data, shared=True):
                break
            os.close(descriptor)
            time.sleep(0.01)  # somebody completes the blob, or forgets its damaged pieces
        try:
            part.append(OPENED)
        except BaseException:
            os.close(descriptor)
            raise
        chain = self._chains.take(digest, size, offset)
        return SegmentWriter(
            descriptor, part, offset, end, chain, self._chains, hashing=hashing, durable=self.durable
        )

    def complete(self, digest: Digest, size: int) -> bool:
        """Whether the blob is whole; it is then hashed, and published here under its digest.

        False where pieces are missing or another thread is still writing one or completing it. Raises
        VerificationError `digest-mismatch` after forgetting every piece.
        """
        if self.have(digest, size):
            return True
        if self.missing(digest, size):
            return False
        part = self._part(digest)
        descriptor = files.open_for_writing(part.data)
        try:
            if not files.try_lock(descriptor, part.data):
                return False
            if self.have(digest, size):  # another thread was faster, and this opened a new, empty file
                part.forget()
                return True
            if self.missing(digest, size):
                return False
            self._publish(descriptor, part, digest, size)
        finally:
            os.close(descriptor)
        return True

    def _publish(self, descriptor: int, part: Part, digest: Digest, size: int) -> None:
        verifier = self._chains.whole(digest, size, part.opened())
        try:
            if verifier is None:
                verifier = Verifier(digest, size, where=str(part.data))
                with files.io_errors(part.data):
                    os.lseek(descriptor, 0, os.SEEK_SET)
                hash_rest(FileReader(descriptor, part.data, size), verifier)
            verifier.finish()
        except VerificationError:
            part.forget()
            raise
        self.blobs.prepare(digest.algorithm)
        files.remove_if_there(part.journal)  # before the bytes go: a journal must not vouch for a later file
        with files.io_errors(part.data):
            os.ftruncate(descriptor, size)
            if self.durable:
                os.fsync(descriptor)
            os.rename(part.data, self.blobs.path(digest))

    def forget(self, digest: Digest) -> None:
        """Drop the blob and its pieces."""
        self._part(digest).forget()
        self.blobs.discard(digest)

    def __iter__(self) -> Iterator[tuple[Digest, int]]:
        """The blobs that are whole, with their sizes, sorted."""
        return iter(self.blobs)

    def _part(self, digest: Digest) -> Part:
        return Part(self._parts / f"{digest.algorithm}-{digest.hex}")
