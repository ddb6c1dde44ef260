"""A bounded pool of threads that stops at the first error and leaves no work running behind.

Only who interrupts it (Ctrl-C) does not wait for long: a thread that sleeps until a registry may be asked again
ends by itself when it wakes, or with the process.

Bulk bytes move in threads because hashing and sockets release the interpreter's lock. Not here: what the
work is.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

PATIENCE = 3.0
"""Seconds that an interruption waits for the threads to come back."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Stopped(Exception):  # noqa: N818  # it is a request that was granted, not an error
    """The work was asked to stop because other work failed."""


class StopFlag:
    """Tells every thread of a pool that it is over; long work calls `check` between chunks."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask for the stop."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped if a stop was asked for."""
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the stop; then raise Stopped."""
        if self._event.wait(seconds):
            raise Stopped


def run_all(
    work: Callable[[Item], Answer], items: Iterable[Item], jobs: int, stop: StopFlag | None = None
) -> list[Answer]:
    """Do `work` on every item with up to `jobs` threads and return the answers in the order of the items.

    The first error ends the rest and is raised once all threads have come back.
    """
    todo = list(items)
    answers: dict[int, Answer] = {}

    def keep(number: int) -> None:
        answers[number] = work(todo[number])

    do_all(keep, range(len(todo)), jobs, stop)
    return [answers[number] for number in range(len(todo))]


def do_all(work: Callable[[Item], object], items: Sequence[Item], jobs: int, stop: StopFlag | None = None) -> None:
    """As `run_all`, keeping no answers: what it costs does not grow with the number of items."""
    _Crew(work, items, stop or StopFlag()).run(jobs)


class _Crew(Generic[Item]):
    """Threads that take one item after the other; a million items need no object each."""

    def __init__(self, work: Callable[[Item], object], items: Sequence[Item], stop: StopFlag) -> None:
        self._work = work
        self._todo = iter(items)
        self._count = len(items)
        self._stop = stop
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def run(self, jobs: int) -> None:
        size = max(1, min(jobs, self._count))
        threads = [threading.Thread(target=self._take, name=f"transfer-{n}", daemon=True) for n in range(size)]
        started: list[threading.Thread] = []
        try:
            for thread in threads if self._count else ():
                thread.start()
                started.append(thread)
            for thread in started:
                thread.join()
        except BaseException:
            self._stop.set()
            last = time.monotonic() + PATIENCE
            for thread in started:
                thread.join(max(0.0, last - time.monotonic()))
            raise
        real = [error for error in self._errors if not isinstance(error, Stopped)]
        for error in real or self._errors:
            raise error

    def _take(self) -> None:
        try:
            while True:
                self._stop.check()
                with self._lock:
                    try:
                        item = next(self._todo)
                    except StopIteration:
                        return
                self._work(item)
        except BaseException as error:  # noqa: BLE001  # raised again by `run`, in the thread that asked
            with self._lock:
                self._errors.append(error)
            self._stop.set()
