"""How long work says how far it is. Not here: showing it (`cli`)."""

from collections.abc import Iterable, Iterator

from isthmus.progress import Progress


class Meter:
    """Counts bytes and tells; does nothing where nobody listens."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.done = 0
        self._progress = progress
        self._total = total
        self._label = ""

    def through(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        """The same pieces, counted once they were dealt with."""
        for piece in pieces:
            yield piece
            self.reach(self.done + len(piece))

    def reach(self, done: int, label: str = "") -> None:
        """Say that this much is done."""
        self.done = done
        self._label = label or self._label
        if self._progress:
            self._progress(done, self._total, self._label)
