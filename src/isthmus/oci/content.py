"""The one storage interface: where content comes from (`Source`) and where it goes (`Sink`).

Registries, stores, bundles and files implement it; `transfer` copies between any two. Only interfaces are
here. A repository is named as the thing behind the interface names it, without a host.
"""

import mmap
from types import TracebackType
from typing import Protocol, Self

from isthmus.oci.descriptor import Descriptor
from isthmus.oci.digest import Digest
from isthmus.oci.manifest import Manifest

CHUNK = 1024 * 1024
"""Bytes that move at a time; large enough to amortise a system call, small enough to bound memory."""


def new_buffer(size: int = CHUNK) -> memoryview:
    """Memory to read into, `size` bytes, at the beginning of a page.

    `bytearray` begins 16 bytes behind one where it is large, and there some processors copy from the system's
    cache, whose pages are aligned, at a quarter of the speed (addresses alias in their low 12 bits).
    """
    return memoryview(mmap.mmap(-1, size))


class BlobReader(Protocol):
    """Bytes in order. `size` is the number of bytes still to come, where the other side said so."""

    size: int | None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there at once; 0 only at the end."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class BlobWriter(Protocol):
    """Takes a blob's bytes in order, starting at `offset`, and publishes it on `commit`.

    Leaving the context without `commit` keeps what can be resumed and never publishes anything.
    """

    offset: int

    def write(self, chunk: memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def commit(self) -> None:
        """Verify size and digest, and publish; raises VerificationError and forgets the bytes otherwise."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Source(Protocol):
    """Something that content can be read from."""

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest by tag or digest; verified where asked for by digest. Raises IsthmusError `not-found`."""
        ...

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> BlobReader:
        """The blob's bytes from `offset` on, not verified: the sink does that."""
        ...

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        """What names this digest as its `subject` (signatures, SBOMs); empty where there is none."""
        ...


class Sink(Protocol):
    """Something that content can be written to."""

    def has_blob(self, repository: str, blob: Descriptor) -> bool:
        """Whether the blob is there already, whole."""
        ...

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether the manifest is there already."""
        ...

    def mount_blob(self, repository: str, blob: Descriptor, other_repository: str) -> bool:
        """Make a blob of another repository appear in this one, if that costs no bytes; False where it cannot."""
        ...

    def write_blob(self, repository: str, blob: Descriptor) -> BlobWriter:
        """A writer that resumes at its `offset`."""
        ...

    def put_manifest(self, repository: str, manifest: Manifest, tag: str = "") -> None:
        """Publish a manifest whose parts are there already, under its digest and, where given, a tag."""
        ...
