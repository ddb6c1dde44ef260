"""What a far side must be able to do for files to be sent to it; `shell` and `sftp` are the two kinds.

Not here: either of them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from isthmus.bundle.medium import MediumFile
from isthmus.carry.ssh.local_files import changed
from isthmus.oci.content import CHUNK, new_buffer

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

TAIL: Final = CHUNK
"""Bytes before the end that are compared where reading all back was not asked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """Bytes of a file on the far side, under its name and under the name of an unfinished one; None: not there."""

    whole: int | None = None
    part: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What there is: one `Found` a name, and the bytes that are free, None where that is not known."""

    found: Sequence[Found]
    free: int | None


class FarSide(Protocol):
    """A directory on the far side."""

    @property
    def verified(self) -> str:
        """How bytes are compared: `sha256`, `read-back`, or `size` (size and the last mebibyte)."""

    def look(self, names: Sequence[str], *, create: bool) -> View:
        """Make the directory where `create`, and look what there is."""

    def same(self, name: str, source: MediumFile, length: int) -> "Hash | None":
        """The hash of the first `length` bytes of the source where the far file has the same ones, else None."""

    def write(self, name: str, offset: int, pieces: Iterable[memoryview]) -> None:
        """Write pieces from `offset` on into a file, which is made where it is not there."""

    def commit(self, part: str, name: str, source: MediumFile, sha256: str) -> None:
        """Compare the whole file, cut behind its end, and give it its name in one step."""

    def close(self) -> None:
        """End what runs on the far side."""


def read_through(source: MediumFile, start: int, end: int, piece: int = CHUNK) -> Iterator[memoryview]:
    """A source's bytes in pieces; the buffer is used again. Raises VerificationError `size-mismatch`."""
    buffer = new_buffer(min(piece, CHUNK))
    while start < end:
        count = source.into(buffer[: min(len(buffer), end - start)], start)
        if not count:
            raise changed(source.path)
        yield buffer[:count]
        start += count


def hash_of(source: MediumFile, length: int) -> "Hash":
    """SHA-256 of the first bytes."""
    digest = hashlib.sha256()
    for piece in read_through(source, 0, length):
        digest.update(piece)
    return digest
