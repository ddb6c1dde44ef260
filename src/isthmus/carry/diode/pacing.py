"""Sending no faster than was said: a token bucket a few milliseconds deep.

A bucket that is deeper would make up for a pause with a burst, and a burst is what a one-way link loses.
Python has no sendmmsg; a `sendmsg` for each datagram does several hundred thousand a second.
"""

import time
from typing import Final

_DEPTH: Final = 0.004
_GRAIN: Final = 0.0005


class Pacer:
    """Bytes a second, kept over any span longer than the bucket is deep."""

    def __init__(self, bits_per_second: float) -> None:
        self._second_a_byte = 8 / bits_per_second
        self._due = time.monotonic()

    def wait(self, size: int) -> None:
        """Return once `size` more bytes may go."""
        self._due += size * self._second_a_byte
        now = time.monotonic()
        if self._due < now - _DEPTH:
            self._due = now - _DEPTH
        elif self._due > now + _GRAIN:
            time.sleep(self._due - now)
