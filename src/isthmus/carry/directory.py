"""Copying files into a directory: a mounted disk, a share. Written as NAME.part, read back, then renamed.

What is there already, with the same bytes, is not written again. Not here: which files a bundle has.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from isthmus.bundle.medium import failed, io_errors, open_regular
from isthmus.carry.ssh.local_files import PART, LocalFile, changed, list_files
from isthmus.errors import VerificationError
from isthmus.oci.content import new_buffer
from isthmus.progress import Meter, Progress, silent


@dataclass(frozen=True, slots=True)
class Copied:
    """What was done, in bytes of files: written now, and `skipped` since they were there. `files` counts all."""

    bytes: int
    skipped: int
    seconds: float
    files: int
    replaced: tuple[str, ...]


def copy_to_directory(
    sources: Iterable[str | os.PathLike[str]],
    directory: Path,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Copied:
    """Copy directories and files into a directory, which is made where it is missing.

    Every file is read back after it was written (past the cache of the system where it lets us) and compared by
    SHA-256. Raises UsageError for what cannot be copied, UnreachableError `io-failed` (disk full),
    VerificationError `digest-mismatch` and `size-mismatch`. The next call goes on with the files that lack.
    """
    started = time.monotonic()
    files = list_files(sources)
    meter = Meter(sum(file.size for file in files), progress)
    written = skipped = 0
    replaced: list[str] = []
    for file in files:
        target = directory / file.name
        if _same_size(target, file.size) and (
            dry_run or _digest(target, file.size) == _digest(file.path, file.size)
        ):
            skipped += file.size
            meter.add(file.size, file.name)
            continue
        if target.exists():
            replaced.append(file.name)
        if not dry_run:
            _copy(file, target, meter)
        written += file.size
    return Copied(written, skipped, time.monotonic() - started, len(files), tuple(replaced))


def _copy(file: LocalFile, target: Path, meter: Meter) -> None:
    part = target.with_name(target.name + PART)
    with io_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as out:

            def put(piece: memoryview) -> None:
                out.write(piece)
                meter.add(len(piece), file.name)

            wanted = _each(file.path, file.size, put)
            out.flush()
            os.fsync(out.fileno())
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if _digest(part, file.size) != wanted:
            raise VerificationError(
                "digest-mismatch", "the medium gives back other bytes than were written", where=str(target),
                hint="use another medium",
            )  # fmt: skip
        os.replace(part, target)
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _digest(path: Path, size: int) -> bytes:
    return _each(path, size, lambda _: None)


def _each(path: Path, size: int, use: Callable[[memoryview], None]) -> bytes:
    """Give every piece of a file of this size to `use`, and return the SHA-256 of all."""
    buffer, hasher, position = new_buffer(), hashlib.sha256(), 0
    with open_regular(path) as opened:
        while position < size:
            count = opened.into(buffer[: min(len(buffer), size - position)], position)
            if not count:
                raise changed(path)
            hasher.update(buffer[:count])
            use(buffer[:count])
            position += count
    return hasher.digest()


def _same_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
    except OSError as error:
        raise failed(error, path) from error
