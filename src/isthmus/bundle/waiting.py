"""How far an `unpack` is: `progress.json` in the directory where a bundle waits until it is whole.

Written at most once a second, for the console of `serve` and whoever else looks; nothing is decided by it,
and where it cannot be written the work goes on.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from isthmus.errors import IsthmusError
from isthmus.progress import Progress
from isthmus.store import files

FILE: Final = "progress.json"
EVERY: Final = 1.0
FRESH: Final = 15.0
"""Seconds after which an unpack that has said nothing counts as not running."""

_MAX_FILE: Final = 16 * 1024
_MAX_WAITING: Final = 100


class Waiting(msgspec.Struct, frozen=True):
    """A bundle that is being unpacked, or waits for volumes; bytes, and `at` in seconds since the epoch.

    `done` of `total` bytes of the volumes that were given are read; the whole bundle has `bundle_bytes`.
    """

    bundle: str
    name: str
    done: int
    total: int
    bundle_bytes: int
    at: float

    def is_running(self, now: float) -> bool:
        """Whether it said something of late."""
        return -FRESH < now - self.at < FRESH


_decoder = msgspec.json.Decoder(Waiting)


class NotedProgress:
    """A `Progress` that writes the file and tells the next one."""

    def __init__(self, place: Path, name: str, bundle_bytes: int, then: Progress | None = None) -> None:
        self._place = place
        self._name = name
        self._bundle_bytes = bundle_bytes
        self._then = then
        self._next = 0.0

    def __call__(self, done: int, total: int, label: str) -> None:
        """Take note."""
        if self._then is not None:
            self._then(done, total, label)
        if time.monotonic() >= self._next or done >= total:
            self._next = time.monotonic() + EVERY
            note = Waiting(self._place.name, self._name, done, total, self._bundle_bytes, round(time.time(), 1))
            with suppress(OSError):
                temporary = self._place / f".{FILE}.new"
                temporary.write_bytes(msgspec.json.encode(note))
                os.replace(temporary, self._place / FILE)


def waiting_bundles(store: Path) -> tuple[Waiting, ...]:
    """What is being unpacked into a store, or waits beside it for its other volumes; the newest first."""
    found = []
    for place in _places(store):
        with suppress(IsthmusError, msgspec.MsgspecError, UnicodeError, RecursionError):
            data = files.read_limited(place / FILE, _MAX_FILE)
            if data is not None:
                found.append(_decoder.decode(data))
    return tuple(sorted(found, key=lambda one: -one.at))


def _places(store: Path) -> Iterator[Path]:
    """The directories that `unpacking.staging_directory` may have made."""
    place = Path(os.path.abspath(store))
    for parent in (place.with_name(f"{place.name}.incoming"), place / "incoming"):
        with suppress(OSError):
            for name in sorted(os.listdir(parent))[:_MAX_WAITING]:
                yield parent / name
