"""When a request is tried again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UnreachableError
from isthmus.registry.retry import delay_before, parse_retry_after, retrying
from tests.registry.samples import options

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_a_time_or_none(header: str) -> None:
    found = parse_retry_after(header)
    assert found is None or found >= 0


def _trouble(**given_: object) -> UnreachableError:
    return UnreachableError("unreachable", "trouble", temporary=True, **given_)  # type: ignore[arg-type]


def test_delays_grow_and_end() -> None:
    slow = options(backoff=1.0, longest_wait=3.0, retries=4)
    delays = [delay_before(attempt, _trouble(), slow) for attempt in range(1, 6)]
    assert delays[4] is None
    known = [delay for delay in delays if delay is not None]
    for delay, ceiling in zip(known, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert ceiling / 2 <= delay <= ceiling


def test_what_the_host_asks_for_is_honoured_up_to_a_limit() -> None:
    patient = options(longest_wait=10, backoff=0.1)
    delay = delay_before(1, _trouble(retry_after=7.0), patient)
    assert delay is not None
    assert 7.0 <= delay <= 7.1
    assert delay_before(1, _trouble(retry_after=11.0), patient) is None


def test_only_temporary_failures_are_repeated() -> None:
    slept: list[float] = []
    calls: list[int] = []

    def twice() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise _trouble()
        return "done"

    assert retrying(twice, options(), slept.append) == "done"
    assert len(slept) == 2
    with pytest.raises(UnreachableError):
        retrying(_fail_for_good, options(), slept.append)
    assert len(slept) == 2


def _fail_for_good() -> None:
    raise UnreachableError("refused", "no")
