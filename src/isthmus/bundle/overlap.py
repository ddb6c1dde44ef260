"""What goes on beside copying: hashing, and bringing what was written to the medium.

Both leave the interpreter's lock, so that a second core and the disk work while the next bytes are read. Files
are read and written front to back by one thread alone: discs and tapes know no other way that is quick. Not
here: the copying itself.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from isthmus.errors import VerificationError
from isthmus.oci.content import new_buffer

T = TypeVar("T")

_WORTH_A_THREAD: Final = 64 * 1024
_ROOMS: Final = 8
_BEHIND: Final = 32 * 1024 * 1024


class Hash(Protocol):
    """What takes bytes in order: a hash of hashlib, or a verifier."""

    def update(self, piece: memoryview | bytes, /) -> None:
        """Take the next bytes."""
        ...


class _Lane:
    """A thread that does what it is given in order; it begins with the first job."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "isthmus-hash")
        self._jobs: deque[Future[None]] = deque()

    def submit(self, digest: Hash, piece: memoryview | bytes) -> Future[None]:
        self._jobs.append(self._thread.submit(digest.update, piece))
        return self._jobs[-1]

    def waiting(self) -> int:
        while self._jobs and self._jobs[0].done():
            self._jobs.popleft()
        return len(self._jobs)

    def end(self) -> None:
        self._thread.shutdown()


class Ring:
    """Buffers that go round: one is filled while threads still hash what is in the others.

    With no `lanes` it is one buffer, and hashing is done at once. A hash keeps to one lane until it is settled,
    so that it gets its bytes in order.
    """

    def __init__(self, lanes: int = 0) -> None:
        self._rooms = [new_buffer() for _ in range(_ROOMS if lanes else 1)]
        self._jobs: list[list[Future[None]]] = [[] for _ in self._rooms]
        self._at = 0
        self._lanes = [_Lane() for _ in range(lanes)]
        self._last: dict[int, tuple[_Lane, Future[None]]] = {}

    def room(self) -> memoryview:
        """The next buffer, once nobody reads from it any more."""
        self._at = (self._at + 1) % len(self._rooms)
        jobs = self._jobs[self._at]
        while jobs:
            jobs.pop().result()
        return self._rooms[self._at]

    def feed(self, digest: Hash, piece: memoryview | bytes) -> None:
        """Have a piece of the buffer that was taken last hashed; other memory must stay until it is settled."""
        known = self._last.get(id(digest))
        if not self._lanes or (known is None and len(piece) < _WORTH_A_THREAD):
            digest.update(piece)
            return
        lane = known[0] if known else min(self._lanes, key=_Lane.waiting)
        job = lane.submit(digest, piece)
        self._jobs[self._at].append(job)
        self._last[id(digest)] = (lane, job)

    def settle(self, *digests: Hash) -> None:
        """Wait until these have taken all that they were fed with."""
        for digest in digests:
            if known := self._last.pop(id(digest), None):
                known[1].result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for lane in self._lanes:
            lane.end()


def overlapped(
    works: Iterable[tuple[T, Generator[None]]], ahead: int = 4
) -> Iterator[tuple[T, VerificationError | None]]:
    """Begin each work when those before it have done their first part, and end them in order, a few behind.

    Yields what each was given with, and what was found wrong with it; other errors end it all.
    """
    waiting: deque[tuple[T, Generator[None], VerificationError | None]] = deque()
    try:
        for item, work in works:
            waiting.append((item, work, _advance(work)))
            if len(waiting) > ahead:
                yield _end(waiting)
        while waiting:
            yield _end(waiting)
    finally:
        for _, work, _ in waiting:
            work.close()


def _end(
    waiting: deque[tuple[T, Generator[None], VerificationError | None]],
) -> tuple[T, VerificationError | None]:
    item, work, wrong = waiting.popleft()
    try:
        for _ in work if wrong is None else ():
            pass
    except VerificationError as error:
        wrong = error
    return item, wrong


def _advance(work: Generator[None]) -> VerificationError | None:
    try:
        next(work, None)
    except VerificationError as error:
        return error
    return None


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
