"""Turns of the event loop for work that costs CPU time, such as encryption: a few pieces in each, then the rest.

So a request for a manifest waits for those few pieces, and not for one of every download there is. Not here:
the work.
"""

import asyncio
import os
from collections import deque
from weakref import WeakKeyDictionary

AT_ONCE = 4
"""Pieces in one turn of the event loop."""


class Turns:
    """Who waits for a turn, first come, first served. Used on one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = AT_ONCE
        self._is_due = False

    async def wait(self) -> None:
        """Return when it is this task's turn."""
        loop = asyncio.get_running_loop()
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._next)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        mine = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _next(self) -> None:
        """A new turn of the loop, in which it has looked what came in."""
        self._left = AT_ONCE
        while self._left and self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # cancelled: its client went away
                first.set_result(None)
                self._left -= 1
        self._is_due = bool(self._waiting) or self._left < AT_ONCE
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._next)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns() -> Turns:
    """Those of the running loop."""
    loop = asyncio.get_running_loop()
    found = _of_loops.get(loop)
    if found is None:
        found = _of_loops[loop] = Turns()
    return found


def read_cached(descriptor: int, into: memoryview, offset: int) -> bool:
    """Fill the memory without waiting for a disk; False where not all of it is in the system's cache."""
    try:
        return os.preadv(descriptor, [into], offset, os.RWF_NOWAIT) == len(into)
    except (OSError, AttributeError):  # not in memory; or not for this kernel or file system
        return False
