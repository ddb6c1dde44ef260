"""What goes on beside copying: hashing, and bringing what was written to the medium.

Both leave the interpreter's lock, so that a second core and the disk work while the next bytes are read. Not
here: the copying itself.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hashlib import _Hash

THREADS: Final = 3
"""Two hashes at a time, and the medium."""
_WORTH_A_THREAD: Final = 64 * 1024
_BEHIND: Final = 32 * 1024 * 1024


@contextmanager
def beside(pool: Executor, piece: memoryview, *digests: "_Hash") -> Iterator[None]:
    """Hash a piece in other threads while the body runs; at once where it is too small to be worth it."""
    if len(piece) < _WORTH_A_THREAD:
        for digest in digests:
            digest.update(piece)
        yield
        return
    hashed = [pool.submit(digest.update, piece) for digest in digests]
    try:
        yield
    finally:
        for running in hashed:
            running.result()


class WriteBehind:
    """Has a file's bytes go to the medium while more are written, so that there is little left to wait for.

    Its methods raise OSError where the medium refuses what it took before.
    """

    def __init__(self, pool: Executor, descriptor: int) -> None:
        self._pool = pool
        self._descriptor = descriptor
        self._waiting = 0
        self._running: Future[None] | None = None

    def wrote(self, count: int) -> None:
        """Take note of bytes that were given to the system."""
        self._waiting += count
        if self._waiting >= _BEHIND and (self._running is None or self._running.done()):
            self.finish()
            self._waiting = 0
            self._running = self._pool.submit(os.fdatasync, self._descriptor)

    def finish(self) -> None:
        """Wait for what is under way; the file can then be closed."""
        running, self._running = self._running, None
        if running is not None:
            running.result()
