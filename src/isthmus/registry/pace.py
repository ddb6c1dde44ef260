"""How many requests at once one host gets, learned from how it takes them; and the rest that it asks for.

Additive increase, multiplicative decrease, as TCP does: refusals for being too fast (429, or 503 with a
Retry-After) and connections that the host resets halve the number, answers let it grow back slowly. Bad news
about requests that were sent before the last decrease is old news. A
`Retry-After` stops everybody, not only the thread that was told. Docker Hub's `ratelimit-remaining` says ahead
how much is left. Not here: whether a request is tried again (`retry`).
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable

from isthmus.registry.retry import parse_retry_after

_GROWTH = 0.5
"""What is added to the number while as many answers come."""
_LIMIT = re.compile(r"[ \t]*([0-9]{1,9})(?:[ \t]*;[ \t]*w=([0-9]{1,9}))?", re.ASCII)


class Pace:
    """The slots of one host: `take` one before a request; give it back when its answer is read.

    A thread that holds one already, as for a download that it uploads again, gets another as long as fewer
    than `most` are out, whatever the host prefers: it could wait for itself otherwise.
    """

    def __init__(self, most: int, longest_wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowed = float(most)
        """How many at once, for now; whole only by chance."""
        self.quota = ""
        """What the host said of its limit, in words, where little is left."""
        self._most = most
        self._longest_wait = longest_wait
        self._clock = clock
        self._changed = threading.Condition()
        self._out = 0
        self._holders: Counter[int] = Counter()
        self._resting_until = 0.0
        self._decreases = 0
        self._remaining: int | None = None

    def take(self, patience: float) -> "Slot | None":
        """Wait for a slot; None where a thread that holds one already got none.

        `patience` is in seconds and for threads that hold a slot: two of them may wait for each other. All
        others come to their turn, since every request ends.
        """
        me = threading.get_ident()
        with self._changed:
            deadline = self._clock() + patience if self._holders[me] else None
            while (pause := self._pause(me)) != 0.0:
                if deadline is not None:
                    left = deadline - self._clock()
                    if left <= 0:
                        return None
                    pause = left if pause is None else min(pause, left)
                self._changed.wait(pause)
            self._out += 1
            self._holders[me] += 1
            return Slot(self, me, self._decreases)

    def learn(self, slot: "Slot", status: int, retry_after: str, limit: str, remaining: str) -> None:
        """Take an answer into account: its status and the headers of these names."""
        wait = parse_retry_after(retry_after) if retry_after else None
        slow_down = status == 429 or (status == 503 and wait is not None)
        with self._changed:
            self._note_quota(limit, remaining)
            if slow_down:
                self._decrease(slot)
                # A longer one ends the run with that news: nobody needs to wait for it.
                if wait is not None and wait <= self._longest_wait:
                    self._resting_until = max(self._resting_until, self._clock() + wait)
            elif status < 500:
                self.allowed = min(float(self._most), self.allowed + _GROWTH / self.allowed)
            self._changed.notify_all()

    def learn_drop(self, slot: "Slot") -> None:
        """Take into account that the host ended a connection in the middle of something."""
        with self._changed:
            self._decrease(slot)

    def give_back(self, slot: "Slot") -> None:
        """Let another request begin."""
        with self._changed:
            self._out -= 1
            self._holders[slot.thread] -= 1
            if self._holders[slot.thread] <= 0:
                del self._holders[slot.thread]
            self._changed.notify_all()

    def _pause(self, me: int) -> float | None:
        """0 where a slot is free for this thread; else seconds to wait, None until something changes."""
        rest = self._resting_until - self._clock()
        if self._holders[me]:
            return 0.0 if self._out < self._most else None
        if rest > 0:
            return rest
        return 0.0 if self._out < self._now() else None

    def _now(self) -> int:
        allowed = max(1, int(self.allowed))
        return allowed if self._remaining is None else max(1, min(allowed, self._remaining))

    def _decrease(self, slot: "Slot") -> None:
        if slot.decreases < self._decreases:
            return
        self._decreases += 1
        self.allowed = max(1.0, min(self.allowed, float(max(self._out, 1))) / 2)

    def _note_quota(self, limit: str, remaining: str) -> None:
        """`ratelimit-remaining: 76;w=21600` (Docker Hub) counts manifests; a plain number is common too."""
        match = _LIMIT.match(remaining)
        if match is None:
            return
        self._remaining = int(match[1])
        whole = _LIMIT.match(limit)
        of = f" of {whole[1]}" if whole else ""
        window = f" in {int(match[2]) // 60} minutes" if match[2] else ""
        self.quota = f"{match[1]}{of} requests{window} are left" if self._remaining < self._most else ""


class Slot:
    """The right to one request at a time; taken by a thread, after so many decreases."""

    def __init__(self, pace: Pace, thread: int, decreases: int) -> None:
        self.thread = thread
        self.decreases = decreases
        self._pace = pace

    def answered(self, status: int, retry_after: str = "", limit: str = "", remaining: str = "") -> None:
        """Learn from the answer: its status and the headers of these names."""
        self._pace.learn(self, status, retry_after, limit, remaining)

    def dropped(self) -> None:
        """Learn from a connection that the host ended in the middle of something."""
        self._pace.learn_drop(self)

    def give_back(self) -> None:
        """Let another request begin; once."""
        self._pace.give_back(self)
