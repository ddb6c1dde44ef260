"""Disk use of a store, counted in a thread behind the first request that asks, and again when it is old."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass

from isthmus.errors import IsthmusError
from isthmus.store import Store

AGAIN = 60.0
"""Seconds for which blobs are not counted again."""

_PATIENCE = 0.05
_log = logging.getLogger("isthmus.serve")


@dataclass(frozen=True)
class Disk:
    """Bytes: of the file system, of `blobs` in the store, and `partial` of what was begun. `at` as in `time`."""

    total: int = 0
    free: int = 0
    stored: int = 0
    blobs: int = 0
    partial: int = 0
    at: float = 0.0

    @property
    def stored_share(self) -> float:
        """Percent of the file system that the store's blobs are."""
        return round(self.stored / self.total * 100, 1) if self.total else 0.0

    @property
    def other_share(self) -> float:
        """Percent of the file system that something else has."""
        used = max(self.total - self.free - self.stored, 0)
        return round(used / self.total * 100, 1) if self.total else 0.0


class DiskWatch:
    """Remembers the last count. Used on one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: Disk | None = None
        self._work: asyncio.Task[None] | None = None

    async def current(self) -> Disk | None:
        """The last count, which may be a minute old; None while the first one goes on."""
        is_old = self._last is None or time.time() - self._last.at > AGAIN
        if is_old and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self._measure())
        if self._work is not None and self._last is None:
            await asyncio.wait([self._work], timeout=_PATIENCE)
        return self._last

    async def close(self) -> None:
        """Stop counting."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _measure(self) -> None:
        try:
            self._last = await asyncio.to_thread(measure, self._store)
        except (IsthmusError, OSError) as error:
            _log.error("the console cannot count what is on disk: %s", error)


def measure(store: Store) -> Disk:
    """Look at every blob's size. Raises what the store raises, and OSError."""
    stored = blobs = 0
    for at, (_, size) in enumerate(store.iter_blobs()):
        stored, blobs = stored + size, blobs + 1
        if at % 1000 == 999:
            time.sleep(0.001)  # whoever pulls comes first
    place = os.statvfs(store.path)
    size = place.f_frsize
    partial = _size_of(str(store.path / "ingest"))
    return Disk(place.f_blocks * size, place.f_bavail * size, stored, blobs, partial, time.time())


def _size_of(directory: str) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0
