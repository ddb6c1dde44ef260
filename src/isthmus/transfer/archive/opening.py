"""Bytes of an archive from front to back, decompressed where they are compressed, within limits.

Every error of the file or of a decompressor becomes one of ours here. Not here: what the bytes mean (`tar`).
"""

import gzip
import importlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Protocol

from isthmus.errors import UnreachableError, UsageError
from isthmus.oci.content import CHUNK, new_buffer

MAX_RATIO = 1000
"""Decompressed to compressed size; beyond it, above the free allowance, the file is an attack, not an image."""

_FREE_ALLOWANCE = 1 << 30
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
MAGIC_LENGTH = max(map(len, _MAGIC))


class Stream(Protocol):
    """Bytes in order; `position` counts those that were read or skipped."""

    position: int

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there at once; 0 only at the end."""
        ...

    def skip(self, count: int, /) -> None:
        """Leave bytes out. Raises UsageError (`invalid-input`) where fewer are there."""
        ...


def packing(head: bytes) -> str:
    """How bytes that begin so are compressed, or nothing."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def read_exactly(stream: Stream, count: int, where: str) -> bytes:
    """So many bytes, or none at the end. Raises UsageError (`invalid-input`) where the file ends in between."""
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    while filled < count:
        got = stream.readinto(view[filled:])
        if not got:
            break
        filled += got
    if filled not in (0, count):
        raise truncated(where)
    return bytes(buffer[:filled])


def truncated(where: str) -> UsageError:
    """Say that the file ends too early."""
    return UsageError("invalid-input", "the archive ends in the middle", where=where, hint="save or copy it again")


class ArchiveFile:
    """An open file of a known size; a plain one can be read at any place, by many threads."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises UsageError (`file-not-found`, `invalid-input`), UnreachableError (`io-failed`)."""
        self.where = str(path)
        try:
            # Not blocking, so that a pipe in the place of a file is an error, not a hang.
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError("file-not-found", "there is no such archive", where=self.where) from error
        except OSError as error:
            raise _io_failed(error, self.where) from error
        found = os.fstat(self.descriptor)
        self.size = found.st_size
        self.packing = ""
        try:
            if not stat.S_ISREG(found.st_mode):
                raise UsageError("invalid-input", "it is not a file", where=self.where)
            self.packing = packing(self.read_at(0, MAGIC_LENGTH))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def into(self, buffer: memoryview, offset: int) -> int:
        """Bytes of the file as it is on disk, read at a place. Raises `io-failed`."""
        try:
            return os.preadv(self.descriptor, [buffer], offset)
        except OSError as error:
            raise _io_failed(error, self.where) from error

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to so many bytes of the file as it is on disk. Raises `io-failed`."""
        buffer = bytearray(count)
        return bytes(buffer[: self.into(memoryview(buffer), offset)])

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """What the file holds, from its beginning. Raises UsageError (`invalid-input`, `wrong-usage`)."""
        if not self.packing:
            yield _Plain(self)
            return
        with os.fdopen(os.dup(self.descriptor), "rb", buffering=0) as raw:
            raw.seek(0)
            with _decompressor(self.packing, raw, self.where) as unpacked:
                yield _Unpacked(unpacked, self)


class _Plain:
    """A tar that is not compressed: what is skipped is not read."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self.position = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._file.into(buffer, self.position)
        self.position += count
        return count

    def skip(self, count: int, /) -> None:
        if self.position + count > self._file.size:
            raise truncated(self._file.where)
        self.position += count


class _Unpacked:
    """A compressed tar."""

    def __init__(self, unpacked: IO[bytes], file: ArchiveFile) -> None:
        self._unpacked = unpacked
        self._where = file.where
        self._limit = _FREE_ALLOWANCE + MAX_RATIO * file.size
        self._waste = memoryview(b"")
        self.position = 0

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count: int = self._unpacked.readinto(buffer)  # type: ignore[attr-defined]
        except (EOFError, zlib.error, OSError, ValueError) as error:
            raise _cannot_unpack(error, self._where) from error
        except Exception as error:
            # zstd's own error class is only known where the library is.
            if type(error).__name__ != "ZstdError":
                raise
            raise _cannot_unpack(error, self._where) from error
        self.position += count
        if self.position > self._limit:
            raise UsageError(
                "invalid-input", f"it unpacks to more than {MAX_RATIO} times its size", where=self._where
            )
        return count

    def skip(self, count: int, /) -> None:
        if not self._waste:
            self._waste = new_buffer()
        while count:
            got = self.readinto(self._waste[: min(count, CHUNK)])
            if not got:
                raise truncated(self._where)
            count -= got


def _decompressor(kind: str, raw: IO[bytes], where: str) -> IO[bytes]:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw, mode="rb")  # type: ignore[return-value]
    if kind == "zstd":
        opened: IO[bytes] = _zstd(where).open(raw, "rb")
        return opened
    raise UsageError(
        "invalid-input", f"it is compressed with {kind}", where=where, hint="plain tar, gzip and zstd are read"
    )


def _zstd(where: str) -> ModuleType:
    """The zstd of the standard library (Python 3.14) or its backport, only where an archive needs it."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise UsageError(
        "wrong-usage",
        "it is compressed with zstd, which this Python cannot read",
        where=where,
        hint="install the package backports.zstd, or decompress it first: zstd -d FILE",
    )


def _cannot_unpack(error: Exception, where: str) -> UsageError | UnreachableError:
    if isinstance(error, EOFError):
        return truncated(where)
    if isinstance(error, OSError) and error.errno is not None:
        return _io_failed(error, where)
    return UsageError("invalid-input", f"it cannot be decompressed: {str(error)[:200]}", where=where)


def _io_failed(error: OSError, where: str) -> UnreachableError:
    return UnreachableError("io-failed", f"it cannot be read: {error.strerror or error}", where=where)
