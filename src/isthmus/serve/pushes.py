"""Which uploads of this process are under way, for people to look at. Used on the event loop; decides nothing.

Other workers of a server are told by `told`, and read that by `read_pushes`.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

LIMIT = 1024
"""Uploads that are remembered."""

IDLE = 300.0
"""Seconds after which an upload that nobody writes to is no longer shown as under way."""


@dataclass
class Push:
    """One upload. `repository` is its full name, `total` bytes are expected, 0 where that is not known yet."""

    repository: str
    by: str
    started: float
    changed: float
    done: int = 0
    total: int = 0


class Pushes:
    """What is being pushed, by the name of the upload's file."""

    def __init__(self) -> None:
        self._pushes: OrderedDict[str, Push] = OrderedDict()

    def begin(self, file: str, repository: str, by: str) -> None:
        """An upload was opened."""
        now = time.time()
        self._pushes[file] = Push(repository, by, now, now)
        while len(self._pushes) > LIMIT:
            self._pushes.popitem(last=False)

    def reach(self, file: str, done: int, total: int = 0) -> None:
        """Bytes came."""
        push = self._pushes.get(file)
        if push is not None:
            push.done, push.total, push.changed = done, max(total, push.total), time.time()

    def end(self, file: str) -> None:
        """It is a blob now, or was given up."""
        self._pushes.pop(file, None)

    def under_way(self) -> tuple[Push, ...]:
        """Those that somebody writes to, the oldest first."""
        now = time.time()
        return tuple(push for push in self._pushes.values() if now - push.changed < IDLE)

    def told(self) -> bytes:
        """Those under way, for other workers."""
        return msgspec.json.encode(self.under_way())


_decoder = msgspec.json.Decoder(tuple[Push, ...])


def read_pushes(said: Iterable[bytes]) -> tuple[Push, ...]:
    """What other workers told; a word that cannot be read is none."""
    found: list[Push] = []
    for data in said:
        try:
            found += _decoder.decode(data)
        except msgspec.MsgspecError:
            continue
    return tuple(found)
