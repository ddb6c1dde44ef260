"""Moves one blob from any of its sources to the repositories that need it.

Verified by the sink while it is written, resumed by the sink's offset, tried again where the trouble may
pass. Not here: which blobs (`plan`) and in which order (`engine`).
"""

import threading
from typing import Protocol, runtime_checkable

import msgspec

from isthmus.errors import IsthmusError, UnreachableError, VerificationError
from isthmus.oci import Descriptor, Sink, Source
from isthmus.oci.content import new_buffer
from isthmus.progress import Meter
from isthmus.transfer.ahead import open_ahead
from isthmus.transfer.pool import StopFlag

ATTEMPTS = 5
FIRST_PAUSE = 0.5
"""Seconds; doubled at every further attempt."""
LONGEST_PAUSE = 300.0
"""Seconds; a host that asks for a longer one ends the run with that news."""
WORTH_ASKING = 1024 * 1024
"""Bytes from which on a question of its own is cheaper than sending a blob that is there already."""


class BlobRoute(msgspec.Struct, frozen=True):
    """A blob, where it can come from, and the repositories that need it.

    `holder` is a repository of the sink that has it, `rumour` one that had it in a former run.
    """

    blob: Descriptor
    origins: tuple[tuple[Source, str], ...]
    targets: tuple[str, ...]
    holder: str = ""
    rumour: str = ""


class BlobCounts(msgspec.Struct):
    """What was done: `blobs` and `bytes` went over the wire, `mounted` cost no bytes, `skipped` were there."""

    blobs: int = 0
    bytes: int = 0
    mounted: int = 0
    skipped: int = 0


@runtime_checkable
class _Continued(Protocol):
    """A writer of which the sink has more than need not be seen again."""

    there: int


class BlobMover:
    """Moves blobs to one sink; used by many threads, each with one buffer of its own.

    With `thorough` the sink is asked for every blob in every repository; otherwise it is only asked in a
    request that begins what there is to do where the answer is no. With `skip_foreign`, layers that registries
    need not hold are left out, and listed in `left_out`, where no source has them.
    """

    def __init__(
        self, sink: Sink, meter: Meter, stop: StopFlag, *, thorough: bool = False, skip_foreign: bool = False
    ) -> None:
        self.counts = BlobCounts()
        self.left_out: list[Descriptor] = []
        self._skip_foreign = skip_foreign
        self._sink = sink
        self._meter = meter
        self._stop = stop
        self._asks_first = thorough
        self._mounts = False
        self._tried_mount = False
        self._local = threading.local()
        self._lock = threading.Lock()

    def bring(self, route: BlobRoute) -> tuple[str, tuple[str, ...]]:
        """Bring the blob into one repository of the sink, over the wire only if no repository is known to have it.

        Returns a repository that has it and those that still need it, which are for `share`.
        """
        if not route.targets:
            return self._found(route, route.holder, ())
        if route.holder:
            return self._found(route, route.holder, route.targets)
        first, rest = route.targets[0], route.targets[1:]
        if route.rumour and self._sink.mount_blob(first, route.blob, route.rumour):
            self._mounts = True
            self._meter.add(route.blob.size, "")
            self._count(mounted=1)
            return first, rest
        if self._is_there(first, route.blob):
            return self._found(route, first, rest)
        if self._asks_first:
            for name in rest:
                if self._sink.has_blob(name, route.blob):
                    return self._found(route, name, tuple(other for other in route.targets if other != name))
        if not self._upload_or_leave_out(route, first):
            return "", ()
        self._learn_to_mount(first, route.blob)
        return first, rest

    def share(self, route: BlobRoute, holder: str, repository: str) -> None:
        """Make the blob that one repository has appear in another, over the wire only where that is refused."""
        if self._asks_first and self._sink.has_blob(repository, route.blob):
            return
        if self._sink.mount_blob(repository, route.blob, holder):
            self._mounts = True
            self._count(mounted=1)
        else:
            self._upload(route, repository, report=False)

    def _found(self, route: BlobRoute, holder: str, rest: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        self._count(skipped=1)
        self._meter.add(route.blob.size, "")
        return holder, rest

    def _is_there(self, repository: str, blob: Descriptor) -> bool:
        """Whether a repository has the blob.

        Mounting a blob from a repository into itself says so, and where it does not, the registry's answer is
        the beginning of the upload: one request instead of two. Registries that cannot mount always say no.
        """
        if self._asks_first:
            return self._sink.has_blob(repository, blob)
        if self._sink.mount_blob(repository, blob, repository):
            self._mounts = True
            return True
        return not self._mounts and blob.size >= WORTH_ASKING and self._sink.has_blob(repository, blob)

    def _learn_to_mount(self, repository: str, blob: Descriptor) -> None:
        """Once a run, see from a blob that is there for sure whether the sink mounts."""
        with self._lock:
            if self._mounts or self._tried_mount or self._asks_first:
                return
            self._tried_mount = True
        if self._sink.mount_blob(repository, blob, repository):
            self._mounts = True
        else:
            self._asks_first = True

    def _upload_or_leave_out(self, route: BlobRoute, repository: str) -> bool:
        """Send the blob; False where it is a foreign layer that no source has, and such may be left out."""
        try:
            self._upload(route, repository)
        except IsthmusError as error:
            if error.code != "not-found" or not route.blob.is_foreign:
                raise
            if not self._skip_foreign:
                error.hint = "it is a layer that registries need not hold; --skip-foreign leaves such layers out"
                raise
            with self._lock:
                self.left_out.append(route.blob)
            self._meter.add(route.blob.size, "")
            return False
        return True

    def _upload(self, route: BlobRoute, repository: str, *, report: bool = True) -> None:
        """Send the blob; counts the bytes on the wire, fewer than the blob has where it is resumed."""
        attempt = 0
        tally = _Tally(self._meter if report else Meter(0), route.blob.size)
        while True:
            origin = route.origins[attempt % len(route.origins)]
            try:
                self._stream(origin, route.blob, repository, tally)
                self._count(blobs=1)
                return
            except IsthmusError as error:
                attempt += 1
                if not _may_pass(error, attempt, len(route.origins)):
                    raise error.at(f"{origin[1]}@{route.blob.digest}") from error
                self._stop.wait(_pause(error, attempt))

    def _stream(self, origin: tuple[Source, str], blob: Descriptor, repository: str, tally: "_Tally") -> None:
        source, source_repository = origin
        buffer = self._buffer()
        with self._sink.write_blob(repository, blob) as writer:
            position = writer.offset
            # What the sink has already is only read to be verified.
            start = max(position, writer.there) if isinstance(writer, _Continued) else position
            tally.set(start, repository)
            if position < blob.size:
                try:
                    with open_ahead(source, source_repository, blob, position) as reader:
                        while count := reader.readinto(buffer):
                            writer.write(buffer[:count])
                            position += count
                            tally.set(max(position, start), repository)
                            self._stop.check()
                finally:
                    self._count(moved=max(position - start, 0))
            writer.commit()

    def _buffer(self) -> memoryview:
        found: memoryview | None = getattr(self._local, "buffer", None)
        if found is None:
            found = self._local.buffer = new_buffer()
        return found

    def _count(self, *, blobs: int = 0, moved: int = 0, mounted: int = 0, skipped: int = 0) -> None:
        with self._lock:
            self.counts.blobs += blobs
            self.counts.bytes += moved
            self.counts.mounted += mounted
            self.counts.skipped += skipped


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
        too_long = error.retry_after is not None and error.retry_after > LONGEST_PAUSE
        return (error.temporary and not too_long) or attempt < origins
    # A bit that flipped on the way is worth one more try; content that is wrong at its source is not.
    return isinstance(error, VerificationError) and attempt < max(2, origins)


def _pause(error: IsthmusError, attempt: int) -> float:
    asked = error.retry_after if isinstance(error, UnreachableError) else None
    if asked is not None:
        return min(asked, LONGEST_PAUSE)
    import random

    pause: float = FIRST_PAUSE * 2 ** (attempt - 1)
    return pause * (0.5 + random.random())  # noqa: S311  # spreads load, no secret
