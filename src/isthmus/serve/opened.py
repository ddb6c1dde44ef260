"""`Opened`: content that is ready to be sent, whichever place it is in. Not here: HTTP (`sending`)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from isthmus.errors import IncompleteError
from isthmus.oci import Digest
from isthmus.oci.content import BlobReader
from isthmus.store import FilePart


@dataclass(frozen=True)
class Piece:
    """`count` bytes of an open file from `offset` on."""

    file: BinaryIO
    offset: int
    count: int


@dataclass(frozen=True)
class Opened:
    """Pieces of open files; or, where there are none, a reader from any offset on, and perhaps a link."""

    size: int
    pieces: tuple[Piece, ...] = ()
    reader: Callable[[int], BlobReader] | None = None
    link: str = ""

    def between(self, offset: int, count: int) -> list[Piece]:
        """The pieces that hold `count` bytes from `offset` on."""
        found, start, end = [], 0, offset + count
        for piece in self.pieces:
            first, last = max(start, offset), min(start + piece.count, end)
            if first < last:
                found.append(Piece(piece.file, piece.offset + first - start, last - first))
            start += piece.count
        return found

    def changed(self) -> float | None:
        """When the file was last written to, where it is one."""
        return os.fstat(self.pieces[0].file.fileno()).st_mtime if self.pieces else None

    def close(self) -> None:
        """Close every file."""
        for piece in self.pieces:
            piece.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def opened_file(descriptor: int, size: int) -> Opened:
    """One whole file, whose descriptor is closed with it."""
    return Opened(size, (Piece(open(descriptor, "rb", buffering=0), 0, size),))


def opened_parts(parts: tuple[FilePart, ...], digest: Digest) -> Opened:
    """Parts of several files. Raises IncompleteError `not-found` where one cannot be opened."""
    pieces: list[Piece] = []
    files: dict[Path, BinaryIO] = {}
    try:
        for part in parts:
            if part.path not in files:
                files[part.path] = open(part.path, "rb", buffering=0)  # noqa: SIM115 -- closed with what is made of it
            pieces.append(Piece(files[part.path], part.offset, part.length))
    except OSError as error:
        for file in files.values():
            file.close()
        raise IncompleteError("not-found", f"{digest} cannot be opened: {error.strerror}") from error
    return Opened(sum(part.length for part in parts), tuple(pieces))
