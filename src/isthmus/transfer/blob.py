"""Moves one blob from any of its sources to all the repositories that need it.

Verified by the sink while it is written, resumed by the sink's offset, tried again where the trouble may
pass. Not here: which blobs (`engine`).
"""

import random
import threading

import msgspec

from isthmus.errors import IsthmusError, UnreachableError, VerificationError
from isthmus.oci import Descriptor, Sink, Source
from isthmus.oci.content import CHUNK
from isthmus.progress import Meter
from isthmus.transfer.pool import StopFlag

ATTEMPTS = 5
FIRST_PAUSE = 0.5
"""Seconds; doubled at every further attempt."""


class BlobRoute(msgspec.Struct, frozen=True):
    """A blob, where it can come from, the repositories that need it, and one that is known to have it."""

    blob: Descriptor
    origins: tuple[tuple[Source, str], ...]
    targets: tuple[str, ...]
    holder: str = ""


class BlobOutcome(msgspec.Struct, frozen=True):
    """How a blob got to its targets."""

    uploads: int = 0
    bytes: int = 0
    mounted: int = 0
    skipped: int = 0


class BlobMover:
    """Moves blobs to one sink; used by many threads, each with one buffer of its own."""

    def __init__(self, sink: Sink, meter: Meter, stop: StopFlag) -> None:
        self._sink = sink
        self._meter = meter
        self._stop = stop
        self._local = threading.local()

    def move(self, route: BlobRoute) -> BlobOutcome:
        """Bring the blob to every target, over the wire at most once where the sink can mount."""
        uploads = moved = mounted = skipped = 0
        holder = route.holder
        missing = [name for name in route.targets if not self._sink.has_blob(name, route.blob)]
        skipped = len(route.targets) - len(missing)
        if skipped and not holder:
            holder = next(name for name in route.targets if name not in missing)
        if not missing:
            self._meter.add(route.blob.size, "")
            return BlobOutcome(skipped=1)
        for name in missing:
            if holder and self._sink.mount_blob(name, route.blob, holder):
                mounted += 1
                continue
            moved += self._upload(route, name)
            uploads += 1
            holder = holder or name
        if not uploads:
            self._meter.add(route.blob.size, "")
        return BlobOutcome(uploads=uploads, bytes=moved, mounted=mounted, skipped=0)

    def _upload(self, route: BlobRoute, repository: str) -> int:
        """The bytes that went over the wire, which may be fewer than the blob has where one is resumed."""
        attempt = 0
        tally = _Tally(self._meter, route.blob.size)
        while True:
            origin = route.origins[attempt % len(route.origins)]
            try:
                return self._stream(origin, route.blob, repository, tally)
            except IsthmusError as error:
                attempt += 1
                if not _may_pass(error, attempt, len(route.origins)):
                    raise error.at(f"{origin[1]}@{route.blob.digest}") from error
                self._stop.wait(_pause(error, attempt))

    def _stream(self, origin: tuple[Source, str], blob: Descriptor, repository: str, tally: "_Tally") -> int:
        source, source_repository = origin
        buffer = self._buffer()
        with self._sink.write_blob(repository, blob) as writer:
            position = start = writer.offset
            tally.set(position, repository)
            if position < blob.size:
                with source.open_blob(source_repository, blob, position) as reader:
                    while count := reader.readinto(buffer):
                        writer.write(buffer[:count])
                        position += count
                        tally.set(position, repository)
                        self._stop.check()
            writer.commit()
        return position - start

    def _buffer(self) -> memoryview:
        found: memoryview | None = getattr(self._local, "buffer", None)
        if found is None:
            found = self._local.buffer = memoryview(bytearray(CHUNK))
        return found


class _Tally:
    """Reports how far one blob is; going back, when an attempt starts again, takes bytes off the meter."""

    def __init__(self, meter: Meter, size: int) -> None:
        self._meter = meter
        self._size = size
        self._position = 0

    def set(self, position: int, label: str) -> None:
        position = min(position, self._size)
        self._meter.add(position - self._position, label)
        self._position = position


def _may_pass(error: IsthmusError, attempt: int, origins: int) -> bool:
    """Whether another attempt makes sense: trouble that may pass, or another source to ask."""
    if attempt >= max(ATTEMPTS, origins):
        return False
    if isinstance(error, UnreachableError):
        return error.temporary or attempt < origins
    # A bit that flipped on the way is worth one more try; content that is wrong at its source is not.
    return isinstance(error, VerificationError) and attempt < max(2, origins)


def _pause(error: IsthmusError, attempt: int) -> float:
    asked = error.retry_after if isinstance(error, UnreachableError) else None
    if asked is not None:
        return min(asked, 300.0)
    pause: float = FIRST_PAUSE * 2 ** (attempt - 1)
    return pause * (0.5 + random.random())  # noqa: S311  # spreads load, no secret
