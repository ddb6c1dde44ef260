"""The bounded pool: order, bounds, and what the first error does."""

import signal
import threading
import time

import pytest

from isthmus.transfer import pool
from isthmus.transfer.pool import StopFlag, Stopped, run_all


def test_answers_come_in_the_order_of_the_items() -> None:
    assert run_all(lambda n: n * n, range(50), jobs=8) == [n * n for n in range(50)]
    assert run_all(lambda n: n, [], jobs=8) == []


def test_never_more_than_jobs_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    run_all(work, range(40), jobs=3)
    assert most == 3


def test_the_first_error_stops_the_rest_and_is_the_one_raised() -> None:
    stop, done = StopFlag(), []

    def work(n: int) -> None:
        if n == 0:
            raise ValueError("first")
        for _ in range(2000):
            stop.check()
            time.sleep(0.001)
        done.append(n)

    started = time.monotonic()
    with pytest.raises(ValueError, match="first"):
        run_all(work, range(100), jobs=4, stop=stop)
    assert done == []
    assert time.monotonic() - started < 2


def test_waiting_ends_with_the_stop() -> None:
    stop = StopFlag()
    threading.Timer(0.02, stop.set).start()
    with pytest.raises(Stopped):
        stop.wait(30)


def test_an_interruption_does_not_wait_for_a_thread_that_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 0.1)
    woken = threading.Event()
    done = []

    def work(n: int) -> None:
        woken.wait(30)
        done.append(n)

    threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all(work, range(10), jobs=2)
    assert time.monotonic() - started < 10
    woken.set()
    time.sleep(0.1)
    assert len(done) <= 2, "nothing new is begun"
