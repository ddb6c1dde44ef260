"""Files on a medium: read at given places, never blocking on what is not a plain file.

Every OSError becomes an error of ours here. Not here: what the bytes mean (`volume`).
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.errors import IsthmusError, UnreachableError, UsageError, VerificationError


class MediumFile:
    """An open file. `identity` tells whether it is the same file as last time, and unchanged."""

    def __init__(self, descriptor: int, path: Path, found: os.stat_result) -> None:
        self.path = path
        self.size = found.st_size
        self.identity = f"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ctime_ns:x}"
        self._descriptor = descriptor

    def at(self, position: int, length: int) -> bytes:
        """A few bytes, fewer at the end of the file; the caller bounds `length`."""
        try:
            return os.pread(self._descriptor, length, position)
        except OSError as error:
            raise read_failed(error, self.path) from error

    def into(self, buffer: memoryview, position: int) -> int:
        """Fill the buffer as far as the file goes."""
        done = 0
        try:
            while done < len(buffer):
                count = os.preadv(self._descriptor, [buffer[done:]], position + done)
                if not count:
                    break
                done += count
        except OSError as error:
            raise read_failed(error, self.path) from error
        return done

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def open_regular(path: Path) -> MediumFile:
    """Open a plain file for reading; raises `file-not-found`, `invalid-input` for another kind, `io-failed`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(descriptor)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such file", where=str(path)) from error
    except OSError as error:
        raise (not_plain(path) if error.errno == errno.ENXIO else read_failed(error, path)) from error
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise not_plain(path)
    return MediumFile(descriptor, path, found)


def read_failed(error: OSError, path: str | os.PathLike[str]) -> IsthmusError:
    """`damaged-volume` where the medium itself cannot be read (a scratch), else `io-failed`."""
    if error.errno == errno.EIO:
        return VerificationError("damaged-volume", "the medium cannot be read", where=os.fspath(path))
    return failed(error, path)


def failed(error: OSError, path: str | os.PathLike[str]) -> UnreachableError:
    """Say what the operating system said."""
    return UnreachableError("io-failed", error.strerror or type(error).__name__, where=os.fspath(path))


@contextmanager
def io_errors(path: Path) -> Iterator[None]:
    """Raise what the operating system refuses as UnreachableError `io-failed`."""
    try:
        yield
    except OSError as error:
        raise failed(error, path) from error


def not_plain(path: Path) -> UsageError:
    """Say that a directory, pipe or device is where a file should be."""
    return UsageError("invalid-input", "it is not a plain file", where=str(path))


def write_file(path: Path, pieces: Iterable[memoryview]) -> None:
    """Write a file under its name once it is whole."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise failed(error, path) from error
    with io_errors(path):
        with open(temporary, "wb") as file:
            file.writelines(pieces)
        os.rename(temporary, path)
