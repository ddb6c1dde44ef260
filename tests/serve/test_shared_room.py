"""Downloads over TLS share memory: nothing of it may wait in a connection while others write into it."""

import asyncio
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isthmus.serve.sending import TLS_CHUNK, _write_cached


class Transport:
    """Takes what it is given, or keeps the rest of it as asyncio might."""

    def __init__(self, taken: int) -> None:
        self.backlog: deque[memoryview] = deque()
        self.sent = b""
        self.is_aborted = False
        self._ssl_protocol = SimpleNamespace(_write_backlog=self.backlog)
        self._taken = taken

    def write(self, data: memoryview) -> None:
        self.sent += bytes(data[: self._taken])
        if len(data) > self._taken:
            self.backlog.append(data[self._taken :])

    def abort(self) -> None:
        self.is_aborted = True


def write(transport: Any, path: Path, count: int, offset: int) -> bool:
    with path.open("rb") as file:
        return _write_cached(transport, file.fileno(), count, offset)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(bytes(range(256)) * 4096)
    return path


def test_what_is_cached_is_given_as_it_is(content: Path) -> None:
    transport = Transport(TLS_CHUNK)
    if not write(transport, content, 5000, 100):
        pytest.skip("this file system does not say what it has in memory")
    assert transport.sent == content.read_bytes()[100:5100]
    assert not transport.is_aborted
    assert not write(transport, content, 5000, content.stat().st_size - 10)  # not all of it is there


def test_a_connection_that_keeps_some_is_ended(content: Path) -> None:
    transport = Transport(100)
    if not write(Transport(TLS_CHUNK), content, 5000, 0):
        pytest.skip("this file system does not say what it has in memory")
    with pytest.raises(ConnectionResetError):
        write(transport, content, 5000, 0)
    assert transport.is_aborted
    assert not transport.backlog


def test_the_room_is_not_used_where_that_cannot_be_seen(content: Path) -> None:
    assert not write(SimpleNamespace(write=lambda _data: None), content, 5000, 0)


def test_asyncio_is_one_where_it_can_be_seen() -> None:
    """Else every download would take the slower way."""
    protocol = asyncio.sslproto.SSLProtocol  # type: ignore[attr-defined]
    assert "_ssl_protocol" in asyncio.sslproto._SSLProtocolTransport.__init__.__code__.co_names  # type: ignore[attr-defined]
    assert "_write_backlog" in protocol.__init__.__code__.co_names
