"""Sending no faster than was said: a token bucket for the rate, and another that keeps bursts short.

What a pause has cost is made up for, but at no more than a tenth above the rate: a burst is what a one-way link
loses. Python has no sendmmsg; a `sendmsg` for each datagram does a hundred thousand a second and more.
"""

import time
from typing import Final

_DEPTH: Final = 0.004
_DEBT: Final = 2.0
_PEAK: Final = 1.1
_GRAIN: Final = 0.0005


class Pacer:
    """Bytes a second over any span longer than `_DEBT` seconds, a tenth more over any longer than `_DEPTH`."""

    def __init__(self, bits_per_second: float) -> None:
        self._second_a_byte = 8 / bits_per_second
        self._due = self._peak_due = time.monotonic()

    def wait(self, size: int) -> None:
        """Return once `size` more bytes may go."""
        now = time.monotonic()
        cost = size * self._second_a_byte
        self._due = max(self._due, now - _DEBT) + cost
        self._peak_due = max(self._peak_due, now - _DEPTH) + cost / _PEAK
        ahead = max(self._due, self._peak_due) - now
        if ahead > _GRAIN:
            time.sleep(ahead)
