"""Blobs on their way in: partial files in `ingest/`, resumable, one writer each, published by a rename.

The partial file of a blob is `ingest/ALGORITHM-HEX`, locked by its writer. A second writer of the same blob
takes the next free slot (`ALGORITHM-HEX.1`, …), so that nobody waits and nothing is shared; a slot whose
writer was killed is free again, and its bytes are taken over after hashing them. Not here: segments in any
order (`staging`).
"""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.errors import UnreachableError, VerificationError
from isthmus.oci import Descriptor, Digest, Verifier
from isthmus.store import files, uploads
from isthmus.store.blobs import BlobDirectory, FileReader, hash_rest
from isthmus.store.hashing import AT_ONCE, Hashing

_MAX_SLOTS = 1000


class FileWriter:
    """Takes a blob's bytes from `offset` on (`BlobWriter`).

    `offset` is the size of the blob where it is there already; then only `commit` is left to do. Made by
    `begin`.
    """

    def __init__(
        self,
        blobs: BlobDirectory,
        descriptor: int,
        path: Path,
        verifier: Verifier,
        *,
        hashing: Hashing,
        durable: bool,
    ) -> None:
        self.offset = verifier.count
        self._blobs = blobs
        self._descriptor = descriptor
        self._path = path
        self._verifier = verifier
        self._hashing = hashing
        self._durable = durable
        self._broken = False

    def write(self, chunk: memoryview, /) -> None:
        """Take the next bytes. Raises `size-mismatch` at the first byte too many, `io-failed` (disk full)."""
        verifier = self._verifier
        size = verifier.size or 0
        if self.offset + chunk.nbytes > size:
            self._forget()
            raise VerificationError(
                "size-mismatch", f"{verifier.digest} is longer than the {size} bytes it must have"
            )
        try:
            files.write_all(self._descriptor, chunk, self._path)
        except BaseException:
            self._broken = True  # how much reached the file is not known; the next writer hashes what is there
            raise
        self._hashing.feed(verifier, chunk)
        self.offset += chunk.nbytes

    def commit(self) -> None:
        """Verify and publish. Raises VerificationError, and then the bytes are gone, or `io-failed`."""
        if self._broken or self._descriptor < 0:
            raise UnreachableError("io-failed", "the blob was not written whole", where=str(self._path))
        try:
            self._hashing.settle(self._verifier)
            self._verifier.finish()
        except VerificationError:
            self._forget()
            raise
        self._publish()

    def _publish(self) -> None:
        self._blobs.publish(self._verifier.digest, self._path, self._descriptor, durable=self._durable)
        self._close()

    def _forget(self) -> None:
        if self._descriptor >= 0:
            files.remove_if_there(self._path)
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._descriptor >= 0 and self.offset == 0 and not self._broken:
            with suppress(UnreachableError):  # an empty partial is only untidy
                files.remove_if_there(self._path)
        self._close()


class HeldWriter:
    """The writer of a blob that is there already: nothing is left to write."""

    def __init__(self, size: int) -> None:
        self.offset = size

    def write(self, chunk: memoryview, /) -> None:
        """Refuse a byte beyond the end."""
        if chunk.nbytes:
            raise VerificationError(
                "size-mismatch", f"the blob is longer than the {self.offset} bytes it must have"
            )

    def commit(self) -> None:
        """Nothing to do: it was verified when it came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return


def begin(
    directory: Path,
    blobs: BlobDirectory,
    blob: Descriptor,
    *,
    durable: bool,
    replace: bool = False,
    hashing: Hashing = AT_ONCE,
) -> FileWriter | HeldWriter:
    """A writer that goes on where an interrupted one stopped; the bytes that are there are hashed first.

    With `replace` a blob that is there already, but is known to be damaged, is written again.
    """
    if not replace and blobs.size(blob.digest) == blob.size:
        return HeldWriter(blob.size)
    files.make_directory(directory)
    descriptor, path = _free_slot(directory, blob.digest)
    try:
        if not replace and blobs.size(blob.digest) == blob.size:  # another writer was faster
            files.remove_if_there(path)
            verifier = None
        else:
            verifier = _take_over(descriptor, path, blob)
    except BaseException:
        os.close(descriptor)
        raise
    if verifier is None:
        os.close(descriptor)
        return HeldWriter(blob.size)
    return FileWriter(blobs, descriptor, path, verifier, hashing=hashing, durable=durable)


def _free_slot(directory: Path, digest: Digest) -> tuple[int, Path]:
    name = f"{digest.algorithm}-{digest.hex}"
    for slot in range(_MAX_SLOTS):
        path = directory / (f"{name}.{slot}" if slot else name)
        descriptor = files.open_for_writing(path)
        if files.try_lock(descriptor, path):
            return descriptor, path
        os.close(descriptor)
    raise UnreachableError("io-failed", f"{_MAX_SLOTS} writers write {digest} at once", where=str(directory))


def _take_over(descriptor: int, path: Path, blob: Descriptor) -> Verifier:
    verifier = Verifier(blob.digest, blob.size, where=str(path))
    with files.io_errors(path):
        present = os.fstat(descriptor).st_size
        if present > blob.size:  # bytes of something else, or of a descriptor that lied
            os.ftruncate(descriptor, 0)
            present = 0
        if present:
            hash_rest(FileReader(descriptor, path, present), verifier)
    return verifier


def sweep(directory: Path, older_than: float, *, dry_run: bool) -> tuple[int, int]:
    """Remove partial files that nobody writes and that are older than a time; count and bytes removed."""
    count = total = 0
    try:
        # Uploads may rest between two requests; they have a time of their own.
        names = [name for name in os.listdir(directory) if not name.startswith(uploads.PREFIX)]
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise files.io_failed(error, directory) from error
    for name in names:
        path = directory / name
        descriptor = files.open_for_reading(path)
        if descriptor is None:
            continue
        try:
            found = os.fstat(descriptor)
            if found.st_mtime <= older_than and files.try_lock(descriptor, path):
                count, total = count + 1, total + found.st_size
                if not dry_run:
                    files.remove_if_there(path)
        finally:
            os.close(descriptor)
    return count, total
