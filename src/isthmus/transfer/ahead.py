"""Reads one very large blob over several connections where one alone is slow, in order and in bounded memory.

Many hosts limit each connection, not each client. A fast stream is left alone: more connections would only
cost. Bytes come out in order, so that whoever takes them verifies and resumes as always. Not here: writing.
"""

import threading
import time
from collections import deque
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.oci import Descriptor, Source
from isthmus.oci.content import CHUNK, BlobReader, new_buffer

LARGE = 256 * 1024 * 1024
"""Bytes still to come from which on this is worth it."""
SLOW = 48 * 1024 * 1024
"""Bytes a second below which a stream counts as slow: SHA-256 alone is several times faster."""
TRIAL = 1.5
"""Seconds after which that is decided."""
CONNECTIONS = 4
SEGMENT = 8 * 1024 * 1024
"""Bytes asked for at once; memory is CONNECTIONS of them, for one blob at a time."""

_one_at_a_time = threading.Lock()


@runtime_checkable
class Ranged(Protocol):
    """A source that gives parts of a blob."""

    def open_range(self, repository: str, blob: Descriptor, offset: int, length: int) -> BlobReader:
        """Exactly this part; raises IsthmusError where that cannot be."""
        ...


def open_ahead(source: Source, repository: str, blob: Descriptor, offset: int) -> BlobReader:
    """The blob's bytes from `offset` on, as `Source.open_blob`."""
    if blob.size - offset < LARGE or not isinstance(source, Ranged):
        return source.open_blob(repository, blob, offset)
    return AheadReader(source, source, repository, blob, offset)


class AheadReader:
    """One stream at first; segments over several connections after it has turned out to be slow."""

    size: int | None

    def __init__(self, source: Source, ranged: Ranged, repository: str, blob: Descriptor, offset: int) -> None:
        self._source = source
        self._ranged = ranged
        self._repository = repository
        self._blob = blob
        self._position = offset
        self._start = offset
        self._since = time.monotonic()
        self._decided = False
        self._crew: _Crew | None = None
        self._stream = source.open_blob(repository, blob, offset)
        self.size = blob.size - offset

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there; 0 at the end. Raises what the source raises."""
        if not self._decided and time.monotonic() - self._since >= TRIAL:
            self._decided = True
            rate = (self._position - self._start) / (time.monotonic() - self._since)
            is_worth_it = rate < SLOW and self._blob.size - self._position >= LARGE // 2
            if is_worth_it and _one_at_a_time.acquire(blocking=False):
                self._split()
        count = self._take(buffer) if self._crew is not None else self._stream.readinto(buffer)
        self._position += count
        self.size = self._blob.size - self._position
        return count

    def _take(self, buffer: memoryview) -> int:
        """From the crew; where a part cannot be had, the one stream goes on, or says why it cannot."""
        assert self._crew is not None
        try:
            return self._crew.take(buffer)
        except IsthmusError:
            self._dismiss()
            self._stream = self._source.open_blob(self._repository, self._blob, self._position)
            self._stream.__enter__()
            return self._stream.readinto(buffer)

    def _dismiss(self) -> None:
        crew, self._crew = self._crew, None
        if crew is not None:
            try:
                crew.stop()
            finally:
                _one_at_a_time.release()

    def _split(self) -> None:
        try:
            # Whether the source gives ranges shows here; where it does not, the one stream goes on.
            length = min(SEGMENT, self._blob.size - self._position)
            first = self._ranged.open_range(self._repository, self._blob, self._position, length)
        except IsthmusError:
            _one_at_a_time.release()
            return
        self._stream.__exit__(None, None, None)
        self._crew = _Crew(self._ranged, self._repository, self._blob, self._position, first)

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._crew is None:
            self._stream.__exit__(kind, error, trace)
        self._dismiss()


class _Segment:
    """A part of the blob, as far as it has come."""

    def __init__(self, offset: int, room: memoryview, length: int) -> None:
        self.offset = offset
        self.room = room
        self.data = room[:length]
        self.filled = 0
        self.taken = 0
        self.error: BaseException | None = None


class _Crew:
    """Threads that each fetch the next segment while there is room for it."""

    def __init__(
        self, source: Ranged, repository: str, blob: Descriptor, position: int, first: BlobReader
    ) -> None:
        self._source = source
        self._repository = repository
        self._blob = blob
        self._next = position
        self._first: BlobReader | None = first
        self._segments: deque[_Segment] = deque()
        # The same memory again and again: what is freed and asked for anew by many threads piles up.
        self._rooms = [new_buffer(SEGMENT) for _ in range(CONNECTIONS)]
        self._changed = threading.Condition()
        self._over = False
        self._threads = [
            threading.Thread(target=self._fetch, name=f"ahead-{n}", daemon=True) for n in range(CONNECTIONS)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, buffer: memoryview) -> int:
        """The next bytes in order; 0 at the end. Raises what fetching them raised."""
        with self._changed:
            if not self._segments and self._next >= self._blob.size:
                return 0
            while not self._segments or self._ready(self._segments[0]) == 0:
                if self._segments and self._segments[0].error is not None:
                    raise self._segments[0].error
                self._changed.wait()
            segment = self._segments[0]
            count = min(self._ready(segment), len(buffer))
            buffer[:count] = segment.data[segment.taken : segment.taken + count]
            segment.taken += count
            if segment.taken == len(segment.data):
                self._rooms.append(self._segments.popleft().room)
                self._changed.notify_all()
            return count

    def stop(self) -> None:
        """End the threads and wait for them."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        if self._first is not None:
            self._first.__exit__(None, None, None)

    @staticmethod
    def _ready(segment: _Segment) -> int:
        return segment.filled - segment.taken

    def _fetch(self) -> None:
        while (found := self._claim()) is not None:
            segment, reader = found
            try:
                self._fill(segment, reader)
            except BaseException as error:  # noqa: BLE001  # raised again by `take`
                with self._changed:
                    segment.error = error
                    self._changed.notify_all()

    def _claim(self) -> tuple[_Segment, BlobReader | None] | None:
        """The next segment, once there is room; None when there is nothing more to do."""
        with self._changed:
            while not self._over and not self._rooms and self._next < self._blob.size:
                self._changed.wait()
            if self._over or self._next >= self._blob.size:
                return None
            segment = _Segment(self._next, self._rooms.pop(), min(SEGMENT, self._blob.size - self._next))
            self._next += len(segment.data)
            self._segments.append(segment)
            reader, self._first = self._first, None
            return segment, reader

    def _fill(self, segment: _Segment, reader: BlobReader | None) -> None:
        length = len(segment.data)
        opened = reader or self._source.open_range(self._repository, self._blob, segment.offset, length)
        with opened:
            while segment.filled < length and not self._over:
                count = opened.readinto(segment.data[segment.filled : segment.filled + CHUNK])
                if not count:
                    raise UnreachableError("protocol", "a part of the blob is too short", temporary=True)
                with self._changed:
                    segment.filled += count
                    self._changed.notify_all()
