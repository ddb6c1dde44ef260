"""A socket that cannot keep us for ever: bounds on the time, and on the bytes of heads.

It also makes a failure late in a read give the bytes before it first. Not here: how the socket came to be
(`dial`), what the bytes mean (`http1`).
"""

import select
import socket
import time
from typing import Any

HEAD_LIMIT = 512 * 1024
"""Bytes of interim answers and headers before one final answer."""

_SLICE = 256 * 1024  # one sendall has one timeout, so it must not be for too many bytes


class Wire:
    """A connected socket.

    `error` is the failure that ended reading, if one did; `ended` says that the other side closed it.
    """

    def __init__(self, sock: socket.socket, *, minimum_rate: int, window: float) -> None:
        self.error: OSError | None = None
        self.ended = False
        self._sock = sock
        self._minimum_rate = minimum_rate
        self._window = window
        self._head_left: int | None = None
        self._waited = 0.0
        self._received = 0
        self._first = True
        self._patient = False

    def expect_head(self, patience: float = 0.0) -> None:
        """An answer is to come: its head is bounded, and the wait for its first byte by timeout and patience."""
        self._patient = patience > 0
        if self._patient:
            self._sock.settimeout(self._window + patience)
        self._head_left, self._first, self._waited, self._received = HEAD_LIMIT, True, 0.0, 0

    def expect_body(self) -> None:
        """The head is read."""
        if self._patient:
            self._sock.settimeout(self._window)
        self._head_left = None

    def sendall(self, data: Any) -> None:
        """As of a socket."""
        with memoryview(data).cast("B") as view:
            for start in range(0, len(view), _SLICE):
                self._sock.sendall(view[start : start + _SLICE])

    def receive(self, buffer: memoryview) -> int:
        """Bytes that are there; 0 at the end and after a failure, which is then in `error`."""
        if self.error is not None:
            return 0
        before = time.monotonic()
        try:
            count = self._sock.recv_into(buffer)
            self._account(count, time.monotonic() - before)
        except OSError as error:
            self.error = error
            return 0
        self.ended = self.ended or (count == 0 and len(buffer) > 0)
        return count

    def _account(self, count: int, waited: float) -> None:
        """Only time spent waiting counts, so that a slow disk or target is not held against the host."""
        if self._head_left is not None:
            self._head_left -= count
            if self._head_left < 0:
                raise OSError("headers without end")
        if self._first:
            self._first = False
            return
        self._waited += waited
        self._received += count
        if self._waited >= self._window:
            if self._received < self._minimum_rate * self._waited and count:
                raise TimeoutError(f"only {self._received} bytes in {self._waited:.0f} s")
            self._waited, self._received = 0.0, 0

    def is_quiet(self) -> bool:
        """Whether an idle connection can be used: neither closed nor spoken on by the other side."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)

    def shut(self) -> None:
        """Close the socket."""
        self._sock.close()
