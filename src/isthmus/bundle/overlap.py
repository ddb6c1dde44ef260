"""What goes on beside copying: hashing, and bringing what was written to the medium.

Both leave the interpreter's lock, so that a second core and the disk work while the next bytes are read. Files
are read and written front to back by one thread alone: discs and tapes know no other way that is quick. Not
here: the copying itself.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Protocol, Self

from isthmus.oci.content import CHUNK

_WORTH_A_THREAD: Final = 64 * 1024
_ROOMS: Final = 4
_BEHIND: Final = 32 * 1024 * 1024


class Hash(Protocol):
    """What takes bytes in order: a hash of hashlib, or a verifier."""

    def update(self, piece: memoryview, /) -> None:
        """Take the next bytes."""
        ...


class Ring:
    """Buffers that go round: one is filled while threads still hash what is in the others.

    With no `lanes` it is one buffer, and hashing is done at once. Each hash keeps to one lane until the next
    `settle`, so that it gets its bytes in order.
    """

    def __init__(self, lanes: int = 0) -> None:
        self._rooms = [memoryview(bytearray(CHUNK)) for _ in range(_ROOMS if lanes else 1)]
        self._jobs: list[list[Future[None]]] = [[] for _ in self._rooms]
        self._at = 0
        self._lanes = [ThreadPoolExecutor(1, "isthmus-hash") for _ in range(lanes)]
        self._lane_of: dict[int, ThreadPoolExecutor] = {}

    def room(self) -> memoryview:
        """The next buffer, once nobody reads from it any more."""
        self._at = (self._at + 1) % len(self._rooms)
        self._wait(self._jobs[self._at])
        return self._rooms[self._at]

    def feed(self, digest: Hash, piece: memoryview) -> None:
        """Have a piece of the buffer that was taken last hashed; other pieces must stay until `settle`."""
        if not self._lanes or (len(piece) < _WORTH_A_THREAD and id(digest) not in self._lane_of):
            digest.update(piece)
            return
        lane = self._lane_of.setdefault(id(digest), self._lanes[len(self._lane_of) % len(self._lanes)])
        self._jobs[self._at].append(lane.submit(digest.update, piece))

    def settle(self) -> None:
        """Wait until everything is hashed that was fed."""
        for jobs in self._jobs:
            self._wait(jobs)
        self._lane_of.clear()

    @staticmethod
    def _wait(jobs: list[Future[None]]) -> None:
        while jobs:
            jobs.pop().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for lane in self._lanes:
            lane.shutdown()


class WriteBehind:
    """Has a file's bytes go to the medium while more are written, so that there is little left to wait for.

    Its methods raise OSError where the medium refuses what it took before.
    """

    def __init__(self, descriptor: int) -> None:
        self._thread = ThreadPoolExecutor(1, "isthmus-sync")
        self._descriptor = descriptor
        self._waiting = 0
        self._running: Future[None] | None = None

    def wrote(self, count: int) -> None:
        """Take note of bytes that were given to the system."""
        self._waiting += count
        if self._waiting >= _BEHIND and (self._running is None or self._running.done()):
            self.finish()
            self._waiting = 0
            self._running = self._thread.submit(os.fdatasync, self._descriptor)

    def finish(self) -> None:
        """Wait for what is under way; the file can then be closed."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            self.finish()
        finally:
            self._thread.shutdown()
