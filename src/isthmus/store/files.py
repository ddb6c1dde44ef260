"""The border to the operating system: opening, writing, replacing and locking files.

Every OSError becomes an error of ours here, and a symbolic link, device or pipe in the place of a file is a
damaged store: a layout that came from elsewhere is hostile until shown otherwise. Not here: what the files
mean.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.oci.digest import Buffer

WRITE = 256 * 1024
"""Bytes of a write. With more, Linux takes huge pages for its cache, and on virtual machines that give free
memory back to their host each of them has to be fetched first: five times the CPU for the same bytes."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def io_errors(where: Path) -> Iterator[None]:
    """Raise what the operating system refuses as UnreachableError `io-failed`, with the place."""
    try:
        yield
    except OSError as error:
        raise io_failed(error, where) from error


def io_failed(error: OSError, where: Path) -> Exception:
    """The error of ours for an OSError: `damaged-store` for a link or another kind of file, else `io-failed`."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
        return not_a_file(where)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return UnreachableError(
        "io-failed",
        error.strerror or type(error).__name__,
        where=str(where),
        hint="make room on the file system and run it again: it goes on where it stopped" if full else "",
    )


def is_read_only(error: BaseException) -> bool:
    """Whether an error of this room says that the place cannot be written to at all, as a mounted medium."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def not_a_file(where: Path) -> VerificationError:
    """Say that something other than a plain file or directory is in the store."""
    return VerificationError(
        "damaged-store",
        "a symbolic link or special file is where the store keeps plain files and directories",
        where=str(where),
    )


def regular_size(path: Path) -> int | None:
    """The size in bytes of a plain file, or None where there is nothing; raises `damaged-store`, `io-failed`."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise io_failed(error, path) from error
    if not stat.S_ISREG(found.st_mode):
        raise not_a_file(path)
    return found.st_size


def open_for_reading(path: Path) -> int | None:
    """A descriptor of a plain file, or None where there is nothing; raises `damaged-store`, `io-failed`."""
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise (not_a_file(path) if error.errno == errno.ENXIO else io_failed(error, path)) from error
    return _plain(descriptor, path)


def open_for_writing(path: Path, flags: int = 0) -> int:
    """A descriptor of a plain file that is made where it is missing; raises `damaged-store`, `io-failed`."""
    try:
        descriptor = os.open(path, _CREATE | flags, 0o644)
    except OSError as error:
        raise (not_a_file(path) if error.errno == errno.ENXIO else io_failed(error, path)) from error
    return _plain(descriptor, path)


def _plain(descriptor: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_a_file(path)
    return descriptor


def read_limited(path: Path, limit: int) -> bytes | None:
    """A small file whole, or None where there is nothing; raises UsageError `invalid-input` over the limit."""
    descriptor = open_for_reading(path)
    if descriptor is None:
        return None
    with io_errors(path), os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UsageError("invalid-input", f"it is larger than {limit} bytes", where=str(path))
    return data


def write_all(descriptor: int, chunk: Buffer, path: Path) -> None:
    """Write every byte at the file's position."""
    rest = memoryview(chunk).cast("B")
    with io_errors(path):
        while rest:
            rest = rest[os.write(descriptor, rest[:WRITE]) :]


def make_directory(path: Path) -> None:
    """Make a directory where it is missing; raises `damaged-store` where something else is there."""
    with io_errors(path):
        with suppress(FileExistsError):
            os.mkdir(path, 0o755)
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise not_a_file(path)


def sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power cut."""
    with io_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(path: Path, data: bytes, temporary: Path, *, durable: bool) -> None:
    """Replace a file's content in one step; the caller holds a lock that makes `temporary` its own."""
    descriptor = open_for_writing(temporary, os.O_TRUNC)
    try:
        write_all(descriptor, data, temporary)
        if durable:
            with io_errors(temporary):
                os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with io_errors(path):
        os.rename(temporary, path)
    if durable:
        sync_directory(path.parent)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock of a lock file; it ends with the process, however that ends."""
    descriptor = open_for_writing(path)
    try:
        with io_errors(path):
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, path: Path, *, shared: bool = False) -> bool:
    """Lock an open file without waiting, and say whether its name still means that very file.

    The name may have moved on between opening and locking, when the former holder renamed or removed it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        named = os.lstat(path)
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        raise io_failed(error, path) from error
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def remove_if_there(path: Path) -> None:
    """Remove a file, which may be gone already."""
    with io_errors(path), suppress(FileNotFoundError):
        os.unlink(path)
