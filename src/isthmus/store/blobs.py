"""A content-addressed directory: `blobs/ALGORITHM/HEX`, one plain file a blob (image-spec, image-layout.md).

A blob is there when its file is there with the right size: whatever lands under a final name was verified
first. Not here: how bytes get there (`ingest`, `staging`), and what names them (`index`).
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.oci import Digest, Verifier
from isthmus.oci.content import BlobReader, new_buffer
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.store import files
from isthmus.store.elsewhere import Elsewhere, FilePart

_NAMES = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


class DamagedBlob(msgspec.Struct, frozen=True):
    """A blob whose bytes are not what its name says, and why."""

    digest: Digest
    size: int
    why: str


class FileReader:
    """A blob's bytes in order (`BlobReader`)."""

    def __init__(self, descriptor: int, path: Path, size: int) -> None:
        self.size: int | None = size
        self._descriptor = descriptor
        self._path = path

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 only at the end. Raises `io-failed`."""
        with files.io_errors(self._path):
            count = os.readv(self._descriptor, [buffer])
        if self.size is not None:
            self.size = max(0, self.size - count)
        return count

    def fileno(self) -> int:
        """The open file, for `sendfile` and the like."""
        return self._descriptor

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class BlobDirectory:
    """Where blobs are, by digest. `root` is the directory called `blobs`, `also` a place for what is not there."""

    def __init__(self, root: Path, also: Elsewhere | None = None) -> None:
        self.root = root
        self.also = also

    def check(self) -> None:
        """Raise `damaged-store` where the directories themselves are links, and lead elsewhere."""
        for path in (self.root, *(self.root / algorithm for algorithm in _NAMES)):
            if os.path.lexists(path) and not stat.S_ISDIR(os.lstat(path).st_mode):
                raise files.not_a_file(path)

    def prepare(self, algorithm: str) -> None:
        """Make the directory for blobs of an algorithm."""
        files.make_directory(self.root / algorithm)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self.root / digest.algorithm / digest.hex

    def size(self, digest: Digest) -> int | None:
        """The size in bytes, or None; raises `damaged-store` for a link or special file."""
        found = files.regular_size(self.path(digest))
        return self.also.size(digest) if found is None and self.also is not None else found

    def publish(self, digest: Digest, path: Path, descriptor: int, *, durable: bool) -> None:
        """Give a verified file its place; it is a blob when this returns. Raises `io-failed`.

        What may be a manifest stays in the directory, where it is quick to read.
        """
        with files.io_errors(path):
            size = os.fstat(descriptor).st_size
            begins = os.pread(descriptor, 64, 0).lstrip()
        if self.also is not None and self.also.takes and (size > MAX_MANIFEST_SIZE or begins[:1] != b"{"):
            self.also.put(digest, path, size)
            files.remove_if_there(path)
            return
        final = self.path(digest)
        self.prepare(digest.algorithm)
        with files.io_errors(final):
            if durable:
                os.fsync(descriptor)
            os.rename(path, final)
        if durable:
            files.sync_directory(final.parent)

    def changed(self, digest: Digest) -> float | None:
        """When the blob was written, in seconds since the epoch; None where there is none."""
        path = self.path(digest)
        try:
            return os.lstat(path).st_mtime
        except FileNotFoundError:
            return self.also.changed(digest) if self.also is not None else None
        except OSError as error:
            raise files.io_failed(error, path) from error

    def parts(self, digest: Digest) -> tuple[FilePart, ...] | None:
        """The blob as pieces of files that are not its own; None where it has its own, or none."""
        if self.also is None or files.regular_size(self.path(digest)) is not None:
            return None
        return self.also.parts(digest)

    def reader(self, digest: Digest, offset: int = 0, size: int | None = None) -> BlobReader:
        """As `open`, from whichever place has it."""
        if self.also is None or files.regular_size(self.path(digest)) is not None:
            return self.open(digest, offset, size)
        found = self.also.size(digest)
        if found is None or (size is not None and found != size):
            raise IncompleteError("not-found", f"the store does not hold {digest}", where=str(self.root))
        return self.also.open(digest, offset)

    def open(self, digest: Digest, offset: int = 0, size: int | None = None) -> FileReader:
        """Read the file from `offset` on. Raises IncompleteError `not-found`, also where the size is wrong."""
        path = self.path(digest)
        descriptor = files.open_for_reading(path)
        if descriptor is None:
            raise IncompleteError("not-found", f"the store does not hold {digest}", where=str(path))
        try:
            with files.io_errors(path):
                found = os.fstat(descriptor).st_size
                if size is not None and found != size:
                    raise IncompleteError(
                        "not-found", f"the store holds {found} of the {size} bytes of {digest}", where=str(path)
                    )
                if not 0 <= offset <= found:
                    raise UsageError("wrong-usage", f"{digest} has no byte {offset}", where=str(path))
                os.lseek(descriptor, offset, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        return FileReader(descriptor, path, found - offset)

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob whole and verified. Raises `not-found`, `damaged-store`, `invalid-input` over the limit."""
        path = self.path(digest)
        data = files.read_limited(path, limit)
        if data is None and self.also is not None and (size := self.also.size(digest)) is not None:
            data = _read_whole(self.also.open(digest, 0), size, limit, str(digest))
        if data is None:
            raise IncompleteError("not-found", f"the store does not hold {digest}", where=str(path))
        if Digest.of(data, digest.algorithm) != digest:
            raise damaged(path, "its bytes have another digest")
        return data

    def discard(self, digest: Digest) -> None:
        """Remove a blob that is damaged, so that it is fetched again; it may be gone already."""
        files.remove_if_there(self.path(digest))
        if self.also is not None and self.also.takes:
            self.also.remove(digest)

    def verify(self, digest: Digest) -> int:
        """Hash a blob again; the bytes read. Raises `damaged-store` where they are others, or `not-found`."""
        with self.reader(digest) as reader:
            verifier = Verifier(digest, None, where=str(self.path(digest)))
            hash_rest(reader, verifier)
        try:
            verifier.finish()
        except VerificationError as error:
            raise damaged(self.path(digest), "its bytes have another digest") from error
        return verifier.count

    def __iter__(self) -> Iterator[tuple[Digest, int]]:
        """Every blob with its size, sorted. Raises `damaged-store` for what is neither file nor stranger."""
        if self.also is None:
            yield from self._local()
            return
        here = dict(self._local())
        yield from sorted({**dict(self.also.items()), **here}.items())

    def _local(self) -> Iterator[tuple[Digest, int]]:
        for algorithm, form in _NAMES.items():
            directory = self.root / algorithm
            try:
                names = sorted(name for name in os.listdir(directory) if form.fullmatch(name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise files.io_failed(error, directory) from error
            for name in names:
                size = files.regular_size(directory / name)
                if size is not None:
                    yield Digest(f"{algorithm}:{name}"), size

    def scrub(self) -> Iterator[DamagedBlob]:
        """Hash every blob again and yield those that are damaged."""
        for digest, size in self:
            try:
                self.verify(digest)
            except VerificationError as error:
                yield DamagedBlob(digest, size, error.message)
            except IncompleteError:
                continue  # collected meanwhile


def _read_whole(reader: BlobReader, size: int, limit: int, where: str) -> bytes:
    if size > limit:
        raise UsageError("invalid-input", f"it is larger than {limit} bytes", where=where)
    data, done = bytearray(size), 0
    with reader, memoryview(data) as view:
        while done < size and (count := reader.readinto(view[done:])):
            done += count
    return bytes(data[:done])


def hash_rest(reader: BlobReader, verifier: Verifier) -> None:
    """Feed what is left of a file to a verifier."""
    buffer = new_buffer()
    while count := reader.readinto(buffer):
        verifier.update(buffer[:count])


def damaged(path: Path, why: str) -> VerificationError:
    """Say that the store holds something other than its names say."""
    return VerificationError(
        "damaged-store",
        why,
        where=str(path),
        hint="`isthmus pull` fetches it again once the damaged blob is removed",
    )
