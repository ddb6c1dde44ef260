"""HTTP/1.1 answers, however they are cut into pieces: bodies are what was sent, and what is wrong is refused."""

import http.client
import io
import socket
import threading

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus.registry.http1 import Answer, BrokeOff, Incoming, NotHttp, request_head
from isthmus.registry.wire import Wire


def answer(raw: bytes, pieces: list[int], method: str = "GET") -> tuple[Answer, bytes]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)

        def send() -> None:
            rest = raw
            for piece in pieces:
                theirs.sendall(rest[:piece])
                rest = rest[piece:]
            theirs.sendall(rest)
            theirs.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            wire = Wire(ours, minimum_rate=1, window=5)
            wire.expect_head()
            found = Answer(Incoming(wire), method)
            wire.expect_body()
            body, buffer = bytearray(), memoryview(bytearray(7))
            while count := found.readinto(buffer):
                body += buffer[:count]
            return found, bytes(body)
        finally:
            sender.join()


def chunked(parts: list[bytes]) -> bytes:
    sent = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return sent + b"0\r\nTrailer: 1\r\n\r\n"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.integers(1, 30), max_size=6), st.booleans())
def test_a_body_is_what_was_sent(parts: list[bytes], pieces: list[int], in_chunks: bool) -> None:
    body = b"".join(parts)
    framing = b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: %d" % len(body)
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\na:  c \r\n" + framing + b"\r\n\r\n"
    found, got = answer(raw + (chunked(parts) if in_chunks else body), pieces)
    assert (found.status, got, found.is_over, found.will_close) == (200, body, True, False)
    assert found.headers["a"] == ["b", "c"]


class _Text:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from([200, 204, 206, 304, 404]),
    st.sampled_from(["", "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0"]),
    st.binary(max_size=8) | st.just(b"4\r\nabcd\r\n0\r\n\r\n"),
)
def test_what_it_takes_another_reader_takes_as_the_same(
    method: str, status: int, framing: str, version: str, body: bytes
) -> None:
    assume("chunked" not in framing or (method == "GET" and status not in (204, 304)))  # it looks for chunks there
    raw = f"{version} {status} X\r\n{framing}\r\n".encode() + body
    try:
        _, got = answer(raw, [], method)
    except (NotHttp, BrokeOff, OSError):
        return
    other = http.client.HTTPResponse(_Text(raw), method=method)  # type: ignore[arg-type]
    other.begin()
    try:
        expected = other.read()
    except http.client.IncompleteRead as error:
        expected = error.partial  # the length tells, in `Response`
    assert got == expected


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200 OK\r\nA B: c",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", b"HTTP/1.1 200 OK\r\nContent-Length: +1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", b"HTTP/1.1 200 OK" + b"\r\nA: b" * 300,
    ],
)  # fmt: skip
def test_what_two_readers_could_take_differently_is_refused(head: bytes) -> None:
    with pytest.raises(NotHttp):
        answer(head + b"\r\n\r\n", [])


@pytest.mark.parametrize("body", [b"5\r\nab", b"5\r\n", b"zz\r\n", b"2\r\nabc\r\n", b"-1\r\n", b"0\r\nA: b\r\n"])
def test_chunks_that_break_off_or_are_none(body: bytes) -> None:
    with pytest.raises((NotHttp, BrokeOff)):
        answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, [])


def test_what_comes_behind_an_answer_makes_its_connection_unusable() -> None:
    found, body = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", [])
    assert (body, found.is_over) == (b"ok", False)


def test_nothing_is_put_into_a_head_that_would_not_stay_on_its_line() -> None:
    assert request_head("GET", "/v2/", {"A": "b"}) == b"GET /v2/ HTTP/1.1\r\nA: b\r\n\r\n"
    for method, target, headers in (
        ("GET X", "/", {}), ("GET", "/ x", {}), ("GET", "/\r\n", {}), ("GET", "/é", {}),
        ("GET", "/", {"A": "b\r\nC: d"}), ("GET", "/", {"A:": "b"}), ("GET", "/", {"A": "\u2028"}),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            request_head(method, target, headers)
