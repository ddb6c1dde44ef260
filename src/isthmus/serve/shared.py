"""What the worker processes of one server have in common: a secret, and where each says what it counted.

The secret is made when this module is imported, which is before workers are forked. Not here: the processes
themselves (`workers`).
"""

import hashlib
import hmac
import mmap
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SECRET = secrets.token_bytes(32)
_SLOTS, _TAG = 8192, 16
MAX_WORKERS = 256


def derived_key(purpose: str) -> bytes:
    """A key for one purpose, the same in every worker of this server, and another with every start."""
    return hmac.digest(_SECRET, purpose.encode(), hashlib.sha256)


class SharedMarks:
    """A bounded set of texts that all workers see; old ones are forgotten."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * _TAG)

    def add(self, text: str) -> None:
        """Note it."""
        at, tag = self._place(text)
        self._memory[at : at + _TAG] = tag

    def __contains__(self, text: str) -> bool:
        at, tag = self._place(text)
        return self._memory[at : at + _TAG] == tag

    def _place(self, text: str) -> tuple[int, bytes]:
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:4]) % _SLOTS * _TAG, digest[-_TAG:]


class SharedCounts:
    """A counter of each worker, which only that one moves and all see: whether the others did something."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MAX_WORKERS * 8)

    def add(self, number: int) -> None:
        """Worker `number` did something, which others find from now on."""
        at = number * 8
        self._memory[at : at + 8] = (int.from_bytes(self._memory[at : at + 8]) + 1).to_bytes(8)

    def others(self, number: int) -> bytes:
        """Something that is another whenever others than worker `number` did something."""
        return self._memory[: number * 8] + self._memory[number * 8 + 8 :]


LINKED = SharedCounts()
"""What was noted in `serve.sqlite`."""

ENDED = SharedMarks()
"""Sessions of the console whose owners have logged out, by their keys."""

TRIED = SharedMarks()
"""Wrong passwords given to the console, so that guessing is not faster where there are more workers."""


@dataclass(frozen=True)
class Share:
    """One of `count` workers, counted from 0; `directory` is where they tell each other what they counted.

    `key` is what they sign tokens with.
    """

    number: int = 0
    count: int = 1
    directory: Path | None = None
    key: bytes = field(default=b"", repr=False)

    @property
    def is_first(self) -> bool:
        """Whether this one does what is done once."""
        return self.number == 0

    def tell(self, kind: str, data: bytes) -> None:
        """Say something to the others; the last word counts. What cannot be written is left out."""
        if self.directory is None:
            return
        path = self._path(kind, self.number)
        temporary = path.with_suffix(".new")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError:
            return

    def said(self, kind: str) -> bytes:
        """What the one before with this number said last, or nothing."""
        return self._read(kind, self.number)

    def others(self, kind: str) -> Iterator[bytes]:
        """What the others said last."""
        for number in range(self.count):
            if number != self.number and (data := self._read(kind, number)):
                yield data

    def _read(self, kind: str, number: int) -> bytes:
        try:
            return self._path(kind, number).read_bytes() if self.directory is not None else b""
        except OSError:
            return b""

    def _path(self, kind: str, number: int) -> Path:
        assert self.directory is not None
        return self.directory / f"{kind}-{number}.json"


ALONE = Share()
"""The only process of a server."""
