"""How work tells how far it is: a callable taking bytes done, bytes in all, and what is being done."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int, str], None]


def silent(done: int, total: int, label: str) -> None:
    """Tell nobody."""


class Meter:
    """Adds up bytes that many threads move and reports the sum; a label stays until there is another."""

    def __init__(self, total: int, report: Progress = silent) -> None:
        self.total = total
        self.done = 0
        self._report = report
        self._label = ""
        self._lock = threading.Lock()

    def add(self, count: int, label: str = "") -> None:
        """Count bytes; negative where bytes turned out not to be there after all."""
        with self._lock:
            self._tell(self.done + count, label)

    def reach(self, done: int, label: str = "") -> None:
        """Say that this much is done, whatever was counted before."""
        with self._lock:
            self._tell(done, label)

    def through(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        """The same pieces, counted once they were dealt with."""
        for piece in pieces:
            yield piece
            self.add(len(piece))

    def _tell(self, done: int, label: str) -> None:
        self.done = done
        self._label = label or self._label
        self._report(done, self.total, self._label)
