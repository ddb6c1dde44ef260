"""One large blob over several connections, from a source that limits each of them."""

import threading
import time
from types import TracebackType
from typing import Self

import pytest

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.transfer import ahead
from isthmus.transfer.ahead import open_ahead

DATA = bytes(range(251)) * 4000
BLOB = Descriptor("application/x", Digest.of(DATA), len(DATA))


class Body:
    def __init__(self, source: "Limited", start: int, end: int) -> None:
        self.source, self.at, self.end = source, start, end
        self.size: int | None = end - start

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), self.end - self.at, 10_000)
        if self.source.breaks_at is not None and self.at <= self.source.breaks_at < self.at + count:
            raise UnreachableError("unreachable", "broke off", temporary=True)
        time.sleep(count / self.source.rate)
        buffer[:count] = DATA[self.at : self.at + count]
        self.at += count
        self.size = self.end - self.at
        return count

    def __enter__(self) -> Self:
        with self.source.lock:
            self.source.open += 1
            self.source.most = max(self.source.most, self.source.open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self.source.lock:
            self.source.open -= 1


class Limited:
    """A source that gives `rate` bytes a second to each connection."""

    def __init__(self, rate: float = 2_000_000.0, *, ranges: bool = True, breaks_at: int | None = None) -> None:
        self.rate, self.ranges, self.breaks_at = rate, ranges, breaks_at
        self.ranges_until = 1 << 30
        self.open = self.most = self.asked = 0
        self.lock = threading.Lock()

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> Body:
        return Body(self, offset, len(DATA))

    def open_range(self, repository: str, blob: Descriptor, offset: int, length: int) -> Body:
        self.asked += 1
        if not self.ranges or self.asked > self.ranges_until:
            raise UnreachableError("protocol", "no ranges")
        return Body(self, offset, offset + length)

    def manifest(self, repository: str, target: str) -> Manifest:
        raise NotImplementedError

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        return ()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LARGE": 200_000, "SEGMENT": 70_001, "TRIAL": 0.02}.items():
        monkeypatch.setattr(ahead, name, value)


def read(source: Limited, offset: int = 0, found: bytearray | None = None) -> bytes:
    found = bytearray() if found is None else found
    buffer = memoryview(bytearray(33_333))
    with open_ahead(source, "r", BLOB, offset) as reader:
        while count := reader.readinto(buffer):
            found += buffer[:count]
            assert reader.size == len(DATA) - offset - len(found)
    return bytes(found)


@pytest.mark.parametrize("offset", [0, 1, 400_000])
def test_the_bytes_come_in_order_from_several_connections(offset: int) -> None:
    source = Limited()
    started = time.monotonic()
    assert read(source, offset) == DATA[offset:]
    assert source.most == ahead.CONNECTIONS
    assert time.monotonic() - started < (len(DATA) - offset) / source.rate
    assert source.open == 0


def test_a_fast_stream_and_a_small_rest_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Limited()
    assert read(rest, len(DATA) - 150_000) == DATA[-150_000:]
    monkeypatch.setattr(ahead, "SLOW", 1000)
    fast = Limited(20_000_000)
    assert read(fast) == DATA
    assert (rest.asked, fast.asked) == (0, 0)


def test_a_source_without_ranges_goes_on_with_one() -> None:
    source = Limited(ranges=False)
    assert read(source) == DATA
    assert (source.asked, source.most, source.open) == (1, 1, 0)
    assert ahead._one_at_a_time.acquire(blocking=False)
    ahead._one_at_a_time.release()


def test_a_source_that_gives_no_more_ranges_goes_on_with_one() -> None:
    source = Limited()
    source.ranges_until = 5
    assert read(source) == DATA
    assert source.open == 0
    assert ahead._one_at_a_time.acquire(blocking=False)
    ahead._one_at_a_time.release()


def test_what_broke_off_is_said_when_its_turn_comes() -> None:
    source = Limited(breaks_at=500_000)
    found = bytearray()
    with pytest.raises(IsthmusError, match="broke off"):
        read(source, found=found)
    assert DATA.startswith(found)
    assert 400_000 < len(found) <= 500_000
    assert source.open == 0


def test_one_blob_at_a_time() -> None:
    with ahead._one_at_a_time:
        source = Limited(8_000_000)
        assert read(source) == DATA
        assert source.asked == 0


def test_leaving_early_ends_every_thread() -> None:
    source = Limited()
    buffer = memoryview(bytearray(10_000))
    with open_ahead(source, "r", BLOB, 0) as reader:
        while source.asked < 2:
            reader.readinto(buffer)
    assert source.open == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead-")]
