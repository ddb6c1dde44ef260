"""Hashing beside copying: the same digests, nothing overwritten that is still read, and order where it counts."""

import hashlib
import threading
from collections.abc import Generator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.bundle.overlap import Ring, overlapped
from isthmus.errors import UnreachableError, VerificationError
from isthmus.oci.content import CHUNK

PIECES = st.lists(st.sampled_from([0, 1, 1000, 64 * 1024, 64 * 1024 + 1, CHUNK - 1, CHUNK]), max_size=20)


@given(lanes=st.integers(0, 3), hashes=st.integers(1, 4), sizes=PIECES)
def test_digests_are_those_of_the_bytes(lanes: int, hashes: int, sizes: list[int]) -> None:
    digests = [hashlib.sha256() for _ in range(hashes)]
    expected = [hashlib.sha256() for _ in range(hashes)]
    with Ring(lanes) as ring:
        for number, size in enumerate(sizes):
            piece = ring.room()[:size]
            piece[:] = bytes([number]) * size
            for one in range(hashes):
                if (number + one) % 3:  # not all hashes take all pieces
                    ring.feed(digests[one], piece)
                    expected[one].update(bytes([number]) * size)
        ring.settle(*digests)
    assert [digest.digest() for digest in digests] == [digest.digest() for digest in expected]


class Held:
    """A hash that takes nothing until it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.taken = b""

    def update(self, piece: memoryview | bytes, /) -> None:
        self.may.wait(30)
        self.taken += bytes(piece[:1])


def test_a_buffer_is_not_given_out_while_it_is_read() -> None:
    slow = Held()
    with Ring(1) as ring:
        given: list[memoryview] = []
        ended = threading.Event()

        def copy() -> None:
            for number in range(40):
                piece = ring.room()
                piece[:] = bytes([number]) * len(piece)
                given.append(piece)
                ring.feed(slow, piece)
            ended.set()

        copying = threading.Thread(target=copy)
        copying.start()
        assert not ended.wait(0.3)
        assert len({id(piece.obj) for piece in given}) == len(given)  # it waits for the first
        slow.may.set()
        copying.join(30)
        ring.settle(slow)
    assert slow.taken == bytes(range(40))


def test_what_a_hash_raises_is_raised_by_settle() -> None:
    class Refusing:
        def update(self, _piece: memoryview | bytes, /) -> None:
            raise VerificationError("size-mismatch", "too long")

    with Ring(2) as ring:
        refusing = Refusing()
        ring.feed(refusing, ring.room())
        with pytest.raises(VerificationError, match="too long"):
            ring.settle(refusing)


def work(log: list[str], name: str, fault: str = "") -> Generator[None]:
    try:
        log.append(f"begin {name}")
        if fault == "begin":
            raise VerificationError("damaged-volume", name)
        yield
        if fault == "end":
            raise VerificationError("damaged-volume", name)
        if fault == "other":
            raise UnreachableError("io-failed", name)
        log.append(f"end {name}")
    finally:
        log.append(f"left {name}")


def test_works_end_in_order_a_few_behind() -> None:
    log: list[str] = []
    works = ((number, work(log, str(number), {1: "begin", 3: "end"}.get(number, ""))) for number in range(6))
    found = list(overlapped(works, ahead=2))
    assert [(number, wrong.message if wrong else None) for number, wrong in found] == [
        (0, None), (1, "1"), (2, None), (3, "3"), (4, None), (5, None),
    ]  # fmt: skip
    assert log.index("begin 2") < log.index("end 0") < log.index("begin 3")


def test_another_error_ends_all_and_leaves_nothing_open() -> None:
    log: list[str] = []

    def works() -> Iterator[tuple[int, Generator[None]]]:
        for number in range(6):
            yield number, work(log, str(number), "other" if number == 1 else "")

    with pytest.raises(UnreachableError):
        list(overlapped(works(), ahead=2))
    begun = [line.removeprefix("begin ") for line in log if line.startswith("begin")]
    assert sorted(line.removeprefix("left ") for line in log if line.startswith("left")) == sorted(begun)
