"""How many requests at once a host gets: what it learns from, and that nobody waits for himself."""

import threading
import time

import pytest

from isthmus.errors import UnreachableError
from isthmus.registry import connect
from isthmus.registry.pace import Pace, Slot
from tests.registry.faults import Asked, FaultServer, Reply
from tests.registry.samples import options

OK = Reply(200, b"{}")


def busy(found: Pace, count: int) -> list[Slot]:
    """Take slots in threads that live on, as those of a transfer do: a slot belongs to a thread."""
    slots: list[Slot] = []
    for _ in range(count):
        done = threading.Event()

        def hold(done: threading.Event = done) -> None:
            slot = found.take(0.1)
            assert slot is not None
            slots.append(slot)
            done.set()
            threading.Event().wait(30)

        threading.Thread(target=hold, daemon=True).start()
        assert done.wait(5)
    return slots


def test_a_burst_of_refusals_halves_once() -> None:
    found = Pace(16, 60.0)
    slots = busy(found, 16)
    for slot in slots:
        slot.answered(429)
    assert found.allowed == 8
    for slot in slots:
        slot.give_back()
    (later,) = busy(found, 1)
    later.answered(503, "0")
    assert found.allowed == 1, "no more than were there at all"
    later.give_back()
    (last,) = busy(found, 1)
    last.dropped()
    assert found.allowed == 1


def test_answers_let_it_grow_slowly_up_to_the_most() -> None:
    found = Pace(16, 60.0)
    slots = busy(found, 16)
    slots[0].answered(429)
    for slot in slots:
        slot.answered(200)
    assert 8.9 < found.allowed < 9.1
    for _ in range(1000):
        slots[0].answered(404)
    assert found.allowed == 16


def test_trouble_that_is_not_about_speed_changes_nothing() -> None:
    found = Pace(16, 60.0)
    (slot,) = busy(found, 1)
    for status in (500, 502, 503, 504):
        slot.answered(status)
    assert found.allowed == 16


def test_a_host_that_says_how_much_is_left_is_believed() -> None:
    found = Pace(8, 60.0)
    first, *_ = busy(found, 3)
    first.answered(200, "", "100;w=21600", "76;w=21600")
    assert found.quota == ""
    first.answered(200, "", "100;w=21600", "3;w=21600")
    assert found.quota == "3 of 100 requests in 360 minutes are left"
    taken = threading.Event()

    def wait() -> None:
        found.take(1)
        taken.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not taken.wait(0.1)
    first.answered(200, "", "100", "9")
    assert taken.wait(5)


@pytest.mark.parametrize("nonsense", ["", "x", "-1", ";w=1", "9" * 400, "1;w=x"])
def test_nonsense_is_no_news(nonsense: str) -> None:
    found = Pace(16, 60.0)
    (slot,) = busy(found, 1)
    slot.answered(200, nonsense, nonsense, nonsense)
    assert found.allowed == 16


def test_a_thread_that_holds_a_slot_does_not_wait_for_itself() -> None:
    found = Pace(2, 60.0)
    first = found.take(0.1)
    assert first is not None
    first.answered(429)
    assert found.allowed == 1
    second = found.take(0.1)
    assert second is not None
    assert found.take(0.05) is None, "but the most is the most"
    second.give_back()
    first.give_back()
    assert found.take(0.1) is not None


def _all_at_once(faults: FaultServer, count: int, **changes: object) -> list[UnreachableError]:
    errors: list[UnreachableError] = []
    with connect(faults.address, options(**changes)) as registry:

        def ping() -> None:
            try:
                registry.ping()
            except UnreachableError as error:
                errors.append(error)

        threads = [threading.Thread(target=ping) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return errors


class Crowded:
    """Answers so many at once and refuses the rest, as a rate limiter by connections does."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.inside = 0
        self.refused = 0
        self.lock = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        with self.lock:
            if self.inside >= self.capacity:
                self.refused += 1
                return Reply(429)
            self.inside += 1
        time.sleep(0.02)
        with self.lock:
            self.inside -= 1
        return OK


def test_a_host_that_serves_few_at_once_gets_few_at_once(faults: FaultServer) -> None:
    crowded = Crowded(3)
    faults.on("GET", "/v2/", crowded)
    errors: list[Exception] = []
    with connect(faults.address, options(max_connections=24, retries=8)) as registry:

        def many() -> None:
            try:
                for _ in range(10):
                    registry.ping()
            except UnreachableError as error:
                errors.append(error)

        threads = [threading.Thread(target=many) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert crowded.refused < 150, "without learning it is many times that"


def test_retry_after_stops_everybody(faults: FaultServer) -> None:
    moments: list[float] = []

    def once(asked: Asked) -> Reply:
        moments.append(time.monotonic())
        return Reply(429, headers={"Retry-After": "1"}) if len(moments) == 1 else OK

    faults.on("GET", "/v2/", once)
    with connect(faults.address, options()) as registry:
        first = threading.Thread(target=registry.ping)
        first.start()
        while not moments:
            time.sleep(0.01)
        time.sleep(0.05)
        registry.ping()
        first.join()
    assert all(moment - moments[0] >= 0.9 for moment in moments[1:])


def test_resets_slow_down_and_everything_arrives(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", Reply(cut=-1), times=6).on("GET", "/v2/", OK)
    assert _all_at_once(faults, 12, retries=6) == []


def test_the_quota_is_in_the_hint(faults: FaultServer) -> None:
    headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
    faults.on("GET", "/v2/", Reply(429, headers=headers))
    (error,) = _all_at_once(faults, 1, retries=0)
    assert error.code == "rate-limited"
    assert error.hint.startswith("0 of 100 requests in 360 minutes are left")
