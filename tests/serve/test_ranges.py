"""Ranges against Python's slicing, and over HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.oci import Digest
from isthmus.serve.ranges import Span, UnsatisfiableRangeError, parse_range
from tests.serve.conftest import LAYER, Client

PATH = f"/v2/mirror/registry.k8s.io/pause/blobs/{Digest.of(LAYER)}"
SIZE = len(LAYER)
near = st.one_of(st.none(), st.integers(0, 60), st.integers(0, 10**18))


def expected(data: bytes, first: int | None, last: int | None) -> bytes | None:
    """What RFC 9110 says of `bytes=first-last`, by slicing; None where nothing satisfies it."""
    if first is None and last is None:
        return None
    if first is None:
        return data[-last:] if last else None
    if last is not None and last < first:
        return None
    return data[first : None if last is None else last + 1] or None


@given(data=st.binary(max_size=50), first=near, last=near)
def test_every_range_is_a_slice(data: bytes, first: int | None, last: int | None) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    wanted = expected(data, first, last)
    if not wanted:
        with pytest.raises(UnsatisfiableRangeError):
            parse_range(header, len(data))
    else:
        span = parse_range(header, len(data))
        assert span.is_part
        assert data[span.offset : span.offset + span.count] == wanted
        assert span.count == len(wanted)


@given(header=st.text(max_size=40), size=st.integers(0, 10**12))
def test_any_text_is_a_range_or_refused(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            span = parse_range(text, size)
        except UnsatisfiableRangeError:
            continue
        assert 0 <= span.offset <= span.offset + span.count <= size


@pytest.mark.parametrize("header", [None, "lines=1-2", "bytes=0-1,3-4", "BITS=1"])
def test_what_is_ignored(header: str | None) -> None:
    assert parse_range(header, 10) == Span(0, 10, False)


@pytest.mark.parametrize(
    "header", ["bytes=5-3", "bytes=-", "bytes=a-b", "bytes", "bytes=10-", "bytes=-0", "bytes=1"]
)
def test_what_is_refused(client: Client, header: str) -> None:
    answer = client.get(PATH, Range=header.replace("10-", f"{SIZE}-"))
    assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (1, 99), (SIZE - 1, None), (None, 1), (None, 10**9), (5, 10**9), (0, None)]
)
def test_parts_over_http(client: Client, first: int | None, last: int | None) -> None:
    answer = client.get(PATH, Range=f"bytes={'' if first is None else first}-{'' if last is None else last}")
    part = expected(LAYER, first, last)
    assert part is not None
    assert (answer.status, answer.body) == (206, part)
    start = LAYER.rindex(part) if first is None else first
    start = SIZE - len(part) if first is None else start
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{SIZE}"


def test_conditions_on_ranges(client: Client) -> None:
    digest = Digest.of(LAYER)
    assert client.get(PATH, Range="bytes=0-9", If_Range=f'"{digest}"').status == 206
    for other in ('"x"', f'W/"{digest}"', "Wed, 21 Oct 2015 07:28:00 GMT"):
        answer = client.get(PATH, Range="bytes=0-9", If_Range=other)
        assert (answer.status, answer.body) == (200, LAYER)
    assert client.head(PATH, Range="bytes=0-9").status == 200
