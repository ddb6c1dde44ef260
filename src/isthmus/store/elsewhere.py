"""Where a store's blobs may be besides its own directory: the volumes of a bundle, or an object storage.

Only what such a place must do. Not here: the places themselves.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from isthmus.oci import Digest
from isthmus.oci.content import BlobReader


class FilePart(NamedTuple):
    """`length` bytes of a file from `offset` on."""

    path: Path
    offset: int
    length: int


class Elsewhere(Protocol):
    """A second place of blobs, asked where the directory has none. Safe for threads; raises `io-failed`."""

    takes: bool
    """Whether new blobs go there."""

    def size(self, digest: Digest, /) -> int | None:
        """The size in bytes, or None where it has no such blob."""

    def open(self, digest: Digest, offset: int, /) -> BlobReader:
        """The bytes from `offset` on. Raises IncompleteError `not-found`."""

    def parts(self, digest: Digest, /) -> tuple[FilePart, ...] | None:
        """The blob as pieces of files, in order; None where it is in no files."""

    def link(self, digest: Digest, /) -> str:
        """An address where clients may fetch the blob for some minutes, or nothing."""

    def put(self, digest: Digest, path: Path, size: int, /) -> None:
        """Keep a file that was verified as this blob; it is there when this returns."""

    def changed(self, digest: Digest, /) -> float | None:
        """When the blob was kept, in seconds since the epoch; None where there is none."""

    def remove(self, digest: Digest, /) -> None:
        """Remove a blob, which may be gone already."""

    def items(self) -> Iterator[tuple[Digest, int]]:
        """Every blob with its size."""
