"""Where an archive is written to: a file that appears when it is whole, or a stream. Not here: what is written."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from isthmus.errors import UnreachableError, UsageError
from isthmus.store import files


@contextmanager
def opened(out: Path | BinaryIO) -> Iterator[Callable[[memoryview], None]]:
    """A function that takes the bytes. A file gets its name at the end of the context, or never.

    What a killed run left is written over. Raises UnreachableError (`io-failed`), UsageError (`wrong-usage`)
    where the name is a directory's, or another process writes the same file.
    """
    if not isinstance(out, Path):
        with _stream_errors():
            yield lambda data: _to_stream(out, data)
            out.flush()
        return
    if os.path.isdir(out) or not out.name:
        raise UsageError("wrong-usage", "it is a directory; name a file", where=str(out))
    partial = out.with_name(f".{out.name}.partial")
    descriptor = _begun(out, partial)
    try:
        if not files.try_lock(descriptor, partial):
            raise UsageError("wrong-usage", "another process writes the same file", where=str(out))
        with _removed_on_error(partial):
            with files.io_errors(partial):
                os.ftruncate(descriptor, 0)
            yield lambda data: files.write_all(descriptor, data, partial)
            with files.io_errors(out):
                os.fsync(descriptor)
                os.rename(partial, out)
    finally:
        os.close(descriptor)


def _begun(out: Path, partial: Path) -> int:
    """The file to write to for now; what is wrong is said of the name that was asked for."""
    try:
        return files.open_for_writing(partial)
    except UnreachableError as error:
        there = os.path.isdir(out.parent)
        message = error.message if there else f"there is no directory {out.parent}, or it cannot be entered"
        raise UnreachableError(error.code, message, where=str(out)) from error


def _to_stream(out: BinaryIO, data: memoryview) -> None:
    with _stream_errors():
        out.write(data)


@contextmanager
def _stream_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read has gone, which is no failure of ours; the command line knows what to do
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where="-") from error


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        files.remove_if_there(path)
        raise
