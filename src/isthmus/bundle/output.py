"""The bytes of a volume on their way out: written front to back, hashed beside, on the medium if that is wanted.

Not here: which bytes (`packing`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from isthmus.bundle.medium import io_errors
from isthmus.bundle.overlap import Ring, WriteBehind
from isthmus.bundle.scan import Front
from isthmus.store.files import write_all

Write = Callable[[memoryview | bytes], object]
"""Takes all bytes it is given."""
_BUFFERED = 256 * 1024


class Output:
    """A volume that is being written; `front` says how far it is."""

    def __init__(self, write: Write, front: Front, ring: Ring, behind: WriteBehind | None = None) -> None:
        self.front = front
        self._write = write
        self._ring = ring
        self._behind = behind

    def put(self, data: memoryview | bytes) -> None:
        """Write a few bytes, or what is in the ring's buffer that was taken last. Raises `io-failed`."""
        self._ring.feed(self.front.hash, data)
        self._write(data)
        self.front.position += len(data)
        if self._behind is not None:
            self._behind.wrote(len(data))


@contextmanager
def file_output(path: Path, front: Front, ring: Ring, *, durable: bool) -> Iterator[Output]:
    """Go on with a partial file behind its intact front."""
    with opened(path, front.position, durable=durable) as file:
        descriptor = file.fileno()

        def write(data: memoryview | bytes) -> None:
            write_all(descriptor, data, path)

        if not durable:
            yield Output(write, front, ring)
            return
        with WriteBehind(descriptor) as behind:
            yield Output(write, front, ring, behind)


@contextmanager
def opened(path: Path, position: int, *, durable: bool) -> Iterator[BinaryIO]:
    """A partial file, cut off at a place and open for more; if `durable`, on the medium when the context ends."""
    with io_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "r+b", buffering=_BUFFERED) as file:
            if os.fstat(descriptor).st_size != position:  # ext4 would write out at once what is cut to nothing
                file.truncate(position)
            file.seek(position)
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
