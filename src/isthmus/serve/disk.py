"""Disk use of a store: counted soon after the start, and again when it is old and somebody asks.

A small store is counted in a thread, a large one by another process (`survey`). Not here: what names need.
"""

import asyncio
import logging
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from isthmus.errors import IsthmusError
from isthmus.store import Store

AGAIN = 60.0
"""Seconds for which blobs are not counted again; longer where counting takes more than a second."""

FEW = 5000
"""Blobs that are counted in a thread."""

BEGIN_SECONDS = 0.2
"""After the start, when the server listens."""

_PATIENCE = 0.05
_REST = 500  # blobs
_SHARE = 50  # of the time: counting may take one part of so many
_SETTLED = 1e9  # nanoseconds; a directory that changed later may change once more with the same time
_NAMES = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}
_log = logging.getLogger("isthmus.serve")


class Counted(msgspec.Struct, frozen=True):
    """Bytes of `blobs` in a store, and `partial` of what was begun; `at` as in `time`, `mark` of directories."""

    stored: int = 0
    blobs: int = 0
    partial: int = 0
    at: float = 0.0
    mark: tuple[int, ...] = ()


class Disk(msgspec.Struct, frozen=True):
    """Bytes of the file system, and what was `counted` there; None while that goes on."""

    total: int = 0
    free: int = 0
    counted: Counted | None = None

    @property
    def stored_share(self) -> float:
        """Percent of the file system that the store's blobs are."""
        return round(self.counted.stored / self.total * 100, 1) if self.counted and self.total else 0.0

    @property
    def other(self) -> int:
        """Bytes of the file system that something else has."""
        return max(self.total - self.free - (self.counted.stored if self.counted else 0), 0)

    @property
    def other_share(self) -> float:
        """The same in percent."""
        return round(self.other / self.total * 100, 1) if self.total else 0.0


class DiskWatch:
    """Remembers the last count. Used on one event loop. `large` counts a large store, in a thread, or cannot."""

    def __init__(self, store: Store, large: Callable[[float], Counted | None]) -> None:
        self._store = store
        self._large = large
        self._last: Counted | None = None
        self._took = 0.0
        self._looked = 0.0
        self._work: asyncio.Task[None] | None = None
        self._is_over = False

    async def begin(self) -> None:
        """Count for the first time."""
        await asyncio.sleep(BEGIN_SECONDS)
        await self.current()

    async def current(self) -> Disk:
        """The file system now, and the last count, which may be a minute old."""
        is_old = not self._looked or time.monotonic() - self._looked > max(AGAIN, _SHARE * self._took)
        if is_old and not self._is_over and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self._measure())
        if self._work is not None and self._last is None:
            await asyncio.wait([self._work], timeout=_PATIENCE)
        try:
            place = os.statvfs(self._store.path)
        except OSError:
            return Disk(counted=self._last)
        return Disk(place.f_blocks * place.f_frsize, place.f_bavail * place.f_frsize, self._last)

    async def close(self) -> None:
        """Stop counting; a large count must have been stopped before."""
        self._is_over = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _measure(self) -> None:
        began = time.monotonic()
        try:
            self._last = await asyncio.to_thread(self._count, self._last)
        except (IsthmusError, OSError) as error:
            _log.error("what is on disk cannot be counted: %s", error)
        self._looked = time.monotonic()
        self._took = self._looked - began

    def _count(self, last: Counted | None) -> Counted | None:
        store = self._store
        if store.blobs.also is not None:
            return _everywhere(store)
        if last is not None and last.mark and last.mark == _mark(store.path):
            return msgspec.structs.replace(last, partial=_size_of(store.path / "ingest"), at=time.time())
        return count_blobs(store.path, FEW) or self._large(time.time() - AGAIN) or last


def count_blobs(store: Path, limit: int | None = None, rest: Callable[[], None] = lambda: None) -> Counted | None:
    """Look at every blob's size; None where there are more than `limit`. Raises OSError.

    `rest` is called again and again, so that others get their turn.
    """
    began, mark = time.time(), _mark(store)
    stored = blobs = 0
    for algorithm, form in _NAMES.items():
        try:
            entries = os.scandir(store / "blobs" / algorithm)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if not form.fullmatch(entry.name):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # collected meanwhile
                if not stat.S_ISREG(found.st_mode):
                    continue
                stored, blobs = stored + found.st_size, blobs + 1
                if limit is not None and blobs > limit:
                    return None
                if blobs % _REST == 0:
                    rest()
    is_settled = all(began * 1e9 - changed > _SETTLED for changed in mark)
    return Counted(stored, blobs, _size_of(store / "ingest"), began, mark if is_settled else ())


def _everywhere(store: Store) -> Counted:
    """In a place besides the directory too, which says what it has."""
    began = time.time()
    stored = blobs = 0
    for at, (_, size) in enumerate(store.iter_blobs()):
        stored, blobs = stored + size, blobs + 1
        if at % 1000 == 999:
            time.sleep(0.001)  # whoever pulls comes first
    return Counted(stored, blobs, _size_of(store.path / "ingest"), began)


def _mark(store: Path) -> tuple[int, ...]:
    """What changes when a blob comes or goes."""
    found = []
    for algorithm in _NAMES:
        try:
            found.append(os.stat(store / "blobs" / algorithm).st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)


def _size_of(directory: Path) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0
