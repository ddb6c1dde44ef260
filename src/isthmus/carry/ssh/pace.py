"""A limit in bytes a second for all streams together: a token bucket. Not here: what the bytes are."""

import threading
import time
from typing import Final

_BURST: Final = 0.05
"""Seconds' worth of bytes that may go at once."""


class Pace:
    """`wait` returns once so many bytes may go; never waits with a limit of 0."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def piece(self, most: int) -> int:
        """How many bytes to ask for at a time, so that streams take turns."""
        return min(most, max(1024, self._limit // 20)) if self._limit else most

    def wait(self, count: int) -> None:
        """Take the next turn; longer for more bytes."""
        if not self._limit:
            return
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now - _BURST)
            self._free_at = start + count / self._limit
        if (left := start - now) > 0:
            time.sleep(left)
