"""How work tells how far it is: a callable taking bytes done, bytes in all, and what is being done."""

import threading
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int, str], None]


def silent(done: int, total: int, label: str) -> None:
    """Tell nobody."""


class Meter:
    """Adds up bytes that many threads move and reports the sum."""

    def __init__(self, total: int, report: Progress = silent) -> None:
        self.total = total
        self.done = 0
        self._report = report
        self._lock = threading.Lock()

    def add(self, count: int, label: str) -> None:
        """Count bytes; negative where bytes turned out not to be there after all."""
        with self._lock:
            self.done += count
            self._report(self.done, self.total, label)
