"""What is in an archive: one pass over its headers, after which every file in it can be found by its digest.

Nothing is written anywhere. Documents (JSON) can be looked at; layers are only located, and read later by
whoever wants them. Not here: what the documents say (`images`).
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from isthmus.errors import UsageError
from isthmus.oci import Digest
from isthmus.oci.content import CHUNK
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.transfer.archive.opening import MAGIC_LENGTH, ArchiveFile, Stream, packing, read_exactly, truncated
from isthmus.transfer.archive.tar import Member, clean_name, read_members

MAX_DOCUMENTS = 256 << 20
"""Bytes of all documents of a compressed archive together, which are kept in memory."""

_BLOB = re.compile(r"(?:blobs/(?P<algorithm>sha256|sha512)/|sha256:)(?P<hex>[0-9a-f]{64,128})", re.ASCII)


class File(msgspec.Struct, frozen=True):
    """A file in the archive. `digest` is what its name says, or what it has where no name could say it."""

    name: str
    offset: int
    size: int
    packing: str = ""
    digest: Digest | None = None


class Survey:
    """An open archive and what is in it. Close it, or use `surveyed`."""

    def __init__(self, file: ArchiveFile) -> None:
        """Read all headers. Raises UsageError (`invalid-input`, `wrong-usage`), UnreachableError."""
        self.where = file.where
        self._file = file
        self.files: dict[str, File] = {}
        self.links: set[str] = set()
        self._by_digest: dict[Digest, File] = {}
        self._documents: dict[str, bytes] = {}
        self._kept = 0
        with file.stream() as stream:
            for member in read_members(stream, file.where):
                self._note(member, stream)

    @property
    def is_packed(self) -> bool:
        """Whether the whole archive is compressed, so that files in it can only be read in order."""
        return bool(self._file.packing)

    def file(self, path: str) -> File | None:
        """A file by a path as a document of the archive gives it; None for links and what is not there."""
        return self.files.get(clean_name(path, self.where))

    def located(self, digest: Digest) -> File | None:
        """The file that has this digest, as far as is known."""
        return self._by_digest.get(digest)

    def claim(self, digest: Digest, file: File) -> None:
        """Note that a file must have a digest; whoever reads it verifies that."""
        self._by_digest.setdefault(digest, file)

    def document(self, file: File) -> bytes:
        """A small file whole. Raises UsageError (`invalid-input`) for a large one, or one that is no JSON."""
        if file.size > MAX_MANIFEST_SIZE:
            raise UsageError("invalid-input", f"{file.name} in it has {file.size} bytes", where=self.where)
        if self._file.packing:
            kept = self._documents.get(file.name)
            if kept is None:
                raise UsageError("invalid-input", f"{file.name} in it is no JSON", where=self.where)
            return kept
        data = self._file.read_at(file.offset, file.size)
        if len(data) != file.size:
            raise truncated(self.where)
        return data

    def open(self, file: File, offset: int) -> "FileReader":
        """The bytes of a file in an archive that is not compressed, from `offset` on; used by many threads."""
        return FileReader(self._file, file, offset)

    def in_order(self, wanted: Collection[Digest]) -> Iterator[tuple[Digest, Stream]]:
        """Go once through the archive and stop at every wanted file, whose bytes the stream gives then."""
        places: dict[int, list[Digest]] = {}
        for digest in wanted:
            if file := self._by_digest.get(digest):
                places.setdefault(file.offset, []).append(digest)
        with self._file.stream() as stream:
            for member in read_members(stream, self.where):
                for digest in places.get(member.offset, ())[:1]:
                    yield digest, stream

    def _note(self, member: Member, stream: Stream) -> None:
        if member.kind == "link":
            self.links.add(member.name)
        if member.kind != "file":
            return
        head = self._head(member, stream)
        digest = named_digest(member.name)
        kind = packing(head)
        if kind and digest is None:
            digest = self._hash(member, head, stream)
        elif self._file.packing and head.lstrip()[:1] in (b"{", b"[") and member.size <= MAX_MANIFEST_SIZE:
            self._keep(member, head, stream)
        other = self.files.get(member.name)
        if other is not None and (digest is None or digest != other.digest):
            # Readers differ in which of two they take, so that one archive could be two things.
            raise UsageError("invalid-input", f"it holds {member.name[:200]} twice", where=self.where)
        if other is None:
            file = File(member.name, member.offset, member.size, kind, digest)
            self.files[member.name] = file
            if digest is not None:
                self.claim(digest, file)

    def _head(self, member: Member, stream: Stream) -> bytes:
        count = min(MAGIC_LENGTH, member.size)
        if not self._file.packing:
            return self._file.read_at(member.offset, count)
        return read_exactly(stream, count, self.where) if count else b""

    def _hash(self, member: Member, head: bytes, stream: Stream) -> Digest:
        """A compressed layer whose name does not say its digest, and whose config only knows it unpacked."""
        found = hashlib.sha256(head)
        left = member.size - len(head)
        if not self._file.packing:
            stream.skip(len(head))
        buffer = memoryview(bytearray(min(CHUNK, max(left, 1))))
        while left:
            count = stream.readinto(buffer[: min(left, len(buffer))])
            if not count:
                raise truncated(self.where)
            found.update(buffer[:count])
            left -= count
        return Digest(f"sha256:{found.hexdigest()}")

    def _keep(self, member: Member, head: bytes, stream: Stream) -> None:
        self._kept += member.size
        if self._kept > MAX_DOCUMENTS:
            raise UsageError(
                "invalid-input", f"it holds more than {MAX_DOCUMENTS >> 20} MiB of documents", where=self.where
            )
        rest = member.size - len(head)
        tail = read_exactly(stream, rest, self.where) if rest else b""
        if len(tail) != rest:
            raise truncated(self.where)
        self._documents[member.name] = head + tail


class FileReader:
    """Bytes of one file in an archive that is not compressed (`BlobReader`)."""

    def __init__(self, archive: ArchiveFile, file: File, offset: int) -> None:
        self._archive = archive
        self._position = file.offset + offset
        self.size: int | None = file.size - offset

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 only at the end. Raises `io-failed`."""
        left = self.size or 0
        if left <= 0:
            return 0
        count = self._archive.into(buffer[:left], self._position)
        self._position += count
        self.size = left - count
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


@contextmanager
def surveyed(path: Path) -> Iterator[Survey]:
    """Open an archive and see what is in it. Raises UsageError, UnreachableError (`io-failed`)."""
    file = ArchiveFile(path)
    try:
        yield Survey(file)
    finally:
        file.close()


def named_digest(name: str) -> Digest | None:
    """The digest that a name promises: `blobs/ALGORITHM/HEX`, or `sha256:HEX` as some tools call configs."""
    match = _BLOB.fullmatch(name)
    if match is None:
        return None
    length = 128 if match["algorithm"] == "sha512" else 64
    return Digest(f"{match['algorithm'] or 'sha256'}:{match['hex']}") if len(match["hex"]) == length else None
