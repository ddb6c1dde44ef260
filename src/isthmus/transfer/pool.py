"""A bounded pool of threads that stops at the first error and never leaves work running behind.

Bulk bytes move in threads because hashing and sockets release the interpreter's lock. Not here: what the
work is.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

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
    flag = stop or StopFlag()
    todo = list(items)
    if not todo:
        return []

    def guarded(item: Item) -> Answer:
        flag.check()
        return work(item)

    with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(todo))), thread_name_prefix="transfer") as executor:
        futures = [executor.submit(guarded, item) for item in todo]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            flag.set()
            raise
        finally:
            if any(_failed(future) for future in futures):
                flag.set()
                for future in futures:
                    future.cancel()
    _raise_first(futures)
    return [future.result() for future in futures]


def _failed(future: Future[Answer]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None


def _raise_first(futures: list[Future[Answer]]) -> None:
    errors = [future.exception() for future in futures if future.done() and not future.cancelled()]
    real = [error for error in errors if error is not None and not isinstance(error, Stopped)]
    if real:
        raise real[0]
