"""Uploads whose digest is told at their end: files in `ingest/` that grow by appending and are then published.

One writer at a time holds a file by its lock; between writers it stays, also when the process ends. What
nobody has touched for a while is removed by `sweep`, as other partial files are. Not here: blobs whose digest
is known before their first byte (`ingest`).
"""

import hashlib
import os
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.errors import IncompleteError, UnreachableError, UsageError, VerificationError
from isthmus.oci import Digest
from isthmus.oci.content import new_buffer
from isthmus.store import files
from isthmus.store.blobs import BlobDirectory

_NAME = re.compile(r"[0-9a-f]{8,128}(?:-[0-9a-f]{8,128})?", re.ASCII)
PREFIX = "upload-"
"""Begins the names of uploads, which are not the partial files that `ingest.sweep` removes."""

_FIRST_GUESS = "sha256"


class Running:
    """The hash of an upload's first `count` bytes, kept between writers to spare reading them again."""

    __slots__ = ("algorithm", "count", "state")

    def __init__(self, algorithm: str = _FIRST_GUESS) -> None:
        self.algorithm = algorithm
        self.count = 0
        self.state = hashlib.new(algorithm)

    def update(self, chunk: memoryview | bytes) -> None:
        """Take the next bytes; hashing releases the GIL."""
        self.state.update(chunk)
        self.count += memoryview(chunk).nbytes


class Upload:
    """An upload held for writing. `size` is what is there, in bytes. Made by `begin` and `resume`."""

    def __init__(
        self, path: Path, descriptor: int, blobs: BlobDirectory, running: Running, *, durable: bool
    ) -> None:
        self.size = os.lseek(descriptor, 0, os.SEEK_END)
        self.running = running
        self._path = path
        self._descriptor = descriptor
        self._blobs = blobs
        self._durable = durable

    def write(self, chunk: memoryview | bytes) -> None:
        """Append. Raises `io-failed` (disk full); what reached the file then stays."""
        try:
            files.write_all(self._descriptor, chunk, self._path)
        finally:
            before, self.size = self.size, os.lseek(self._descriptor, 0, os.SEEK_END)
        if self.running.count == before:
            self.running.update(chunk)

    def verify(self, digest: Digest) -> None:
        """Raise VerificationError `digest-mismatch` after removing the upload, where its bytes are others."""
        found = self.digest(digest.algorithm)
        if found != digest:
            self.remove()
            raise VerificationError("digest-mismatch", f"expected {digest}, the content has {found}")

    def digest(self, algorithm: str = _FIRST_GUESS) -> Digest:
        """That of what is there; bytes of former writers are read again."""
        if self.running.algorithm != algorithm or self.running.count != self.size:
            self.running = self._hash(algorithm)
        return Digest(f"{algorithm}:{self.running.state.hexdigest()}")

    def _hash(self, algorithm: str) -> Running:
        running = Running(algorithm)
        buffer = new_buffer()
        while running.count < self.size:
            with files.io_errors(self._path):
                count = os.preadv(self._descriptor, [buffer], running.count)
            if not count:
                raise UnreachableError("io-failed", "the upload was cut off", where=str(self._path))
            running.update(buffer[:count])
        return running

    def publish(self, digest: Digest) -> None:
        """Make it a blob, after `verify`. A blob that is there already stays. Raises `io-failed`."""
        if self._blobs.size(digest) == self.size:
            self.remove()
            return
        self._blobs.publish(digest, self._path, self._descriptor, durable=self._durable)
        self.close()

    def remove(self) -> None:
        """Give it up."""
        files.remove_if_there(self._path)
        self.close()

    def close(self) -> None:
        """Let others write; more than once does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def begin(directory: Path, name: str) -> None:
    """Make an empty upload. A name is 8 to 128 hexadecimal digits, or two such parts with a dash."""
    files.make_directory(directory)
    os.close(files.open_for_writing(_path(directory, name)))


def resume(directory: Path, blobs: BlobDirectory, name: str, running: Running | None, *, durable: bool) -> Upload:
    """Hold an upload. Raises IncompleteError `not-found`, or UsageError `store-busy` while another writes."""
    path = _path(directory, name)
    if files.regular_size(path) is None:
        raise _unknown(path)
    descriptor = files.open_for_writing(path)
    if not files.try_lock(descriptor, path):
        os.close(descriptor)
        raise UsageError("store-busy", "somebody else writes this upload", where=str(path))
    return Upload(path, descriptor, blobs, running or Running(), durable=durable)


def size(directory: Path, name: str) -> int:
    """Bytes received so far. Raises IncompleteError `not-found`."""
    path = _path(directory, name)
    found = files.regular_size(path)
    if found is None:
        raise _unknown(path)
    return found


def sweep(directory: Path, idle_seconds: float) -> int:
    """Remove uploads that nobody has written to for so long; how many."""
    count = 0
    try:
        names = [name for name in os.listdir(directory) if name.startswith(PREFIX)]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise files.io_failed(error, directory) from error
    for name in names:
        path = directory / name
        descriptor = files.open_for_reading(path)
        if descriptor is None:
            continue
        try:
            is_old = os.fstat(descriptor).st_mtime <= time.time() - idle_seconds
            if is_old and files.try_lock(descriptor, path):
                files.remove_if_there(path)
                count += 1
        finally:
            os.close(descriptor)
    return count


def _path(directory: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise IncompleteError("not-found", "there is no such upload", where=str(directory))
    return directory / f"{PREFIX}{name}"


def _unknown(path: Path) -> IncompleteError:
    return IncompleteError("not-found", "there is no such upload", where=str(path))
