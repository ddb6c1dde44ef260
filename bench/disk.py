"""How much disk a command really needs while it runs: blocks on disk, polled. Not here: what runs."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

INTERVAL = 0.05
"""Seconds between looks."""

_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


def used(directories: Iterable[Path]) -> int:
    """Bytes of disk below the directories, as `du` counts: blocks, and a file with many names once."""
    seen: dict[tuple[int, int], int] = {}
    todo = [str(directory) for directory in directories]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    _count(entry, seen, todo)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it went while we looked
    return sum(seen.values())


def _count(entry: os.DirEntry[str], seen: dict[tuple[int, int], int], todo: list[str]) -> None:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    seen[found.st_dev, found.st_ino] = found.st_blocks * _BLOCK
    if entry.is_dir(follow_symlinks=False):
        todo.append(entry.path)


class DiskWatch:
    """Polls from entry to exit; `growth` is the largest use seen, less what there was before."""

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="disk-watch", daemon=True)
        self._before = 0
        self._peak = 0

    @property
    def growth(self) -> int:
        """Bytes, at most, beyond the use at the start."""
        return self._peak - self._before

    def __enter__(self) -> Self:
        self._before = self._peak = used(self._directories)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _poll(self) -> None:
        while not self._done.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, used(self._directories))
