"""The same answer to the same request for a manifest, byte for byte, without parsing it again.

`Front` stands between the socket and aiohttp's handler of a connection. A request that was answered before, with
nothing changed since, is answered by it; anything else goes to the handler. Not here: what the answer is.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import MutableSet
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, cast

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractAccessLogger

from isthmus.errors import IsthmusError
from isthmus.serve.audit import Audit
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.metrics import Metrics
from isthmus.serve.target import TARGET, Target

MAX_REQUEST = 4096
"""Bytes of a request that is remembered."""

MAX_BYTES = 16 * 1024 * 1024
"""Of all requests and answers that are remembered."""

LONG_WAY_SECONDS = 30.0
"""After which one request goes to the handler again, so that its keep-alive clock sees the connection live."""

_END = b"\r\n\r\n"
_BODY = (b"\ncontent-length:", b"\ntransfer-encoding:", b"\nupgrade:", b"\nexpect:")


@dataclass(frozen=True)
class _Known:
    """An answer around its `Date`, and what is counted of it."""

    before: bytes
    after: bytes
    method: str
    target: Target
    status: int
    body: int


class Shortcuts:
    """Those of one registry, on its event loop alone."""

    def __init__(
        self, catalogue: Catalogue, metrics: Metrics, audit: Audit | None, silent: MutableSet[Any]
    ) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._audit = audit
        self._silent = silent
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._bytes = 0
        self._version = -1
        self._second = 0
        self._date = b""
        self.fronts: dict[object, Front] = {}

    def front(self, handler: web.RequestHandler) -> "Front":
        """What a connection is given instead of its handler."""
        return Front(self, handler)

    def version(self) -> int | None:
        """What answers depend on now; None where something changed that nobody has read yet."""
        try:
            version = self._catalogue.version()
        except IsthmusError:
            return None  # the long way says what is wrong
        if version is not None and version != self._version:
            self._known.clear()
            self._bytes = 0
            self._version = version
        return version

    def answer(self, data: bytes, handler: object, remote: str) -> bytes | None:
        """All bytes of the answer to a request, counted and noted; None where it is not known."""
        known = self._known.get(data)
        if known is None:
            return None
        self._known.move_to_end(data)
        if self._audit is not None:
            self._audit.note(known.method, known.target, remote, "", known.status)
        self._silent.discard(handler)
        self._metrics.add(known.method, known.target.kind, known.status, 0.0, known.body, 0)
        return b"".join((known.before, self._now(), known.after))

    def learn(self, data: bytes, version: int, request: web.Request, response: web.StreamResponse) -> None:
        """Remember an answer, where it would be the same for anybody."""
        target: Target | None = request.get(TARGET)
        if target is None or target.kind != "manifests" or version != self._version or data in self._known:
            return
        if response.status not in (200, 304) or not isinstance(response, web.Response) or not response.keep_alive:
            return
        if request.version != HttpVersion11 or "Authorization" in request.headers:
            return
        body = response.body if response.status == 200 else b""
        if not isinstance(body, bytes) or len(body) > MAX_BYTES // 16:
            return
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Date"]
        after = b"\r\n\r\n" + (body if request.method == "GET" else b"")
        before = ("\r\n".join(lines) + "\r\nDate: ").encode("latin-1")
        counted = len(body) if request.method == "GET" else 0
        self._known[data] = _Known(before, after, request.method, target, response.status, counted)
        self._bytes += len(data) + len(before) + len(after)
        while self._bytes > MAX_BYTES:
            old, gone = self._known.popitem(last=False)
            self._bytes -= len(old) + len(gone.before) + len(gone.after)

    def _now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date

    def logger(self) -> type[AbstractAccessLogger]:
        """For aiohttp, which tells it of every answer that was sent."""
        fronts = self.fronts

        class Told(AbstractAccessLogger):
            """Writes no log."""

            def log(self, request: web.BaseRequest, response: web.StreamResponse, _time: float) -> None:
                front = fronts.get(request.protocol)
                if front is not None:
                    front.answered(cast("web.Request", request), response)

        return Told


class Front(asyncio.Protocol):
    """One connection.

    It may answer by itself only where the handler has nothing under way and no half a request. So it counts what
    it hands on as long as that comes as whole requests without a body, and stops for good when it does not.
    """

    __slots__ = ("_clean", "_data", "_handed", "_handler", "_long", "_paused", "_remote", "_shortcuts",
                 "_transport", "_version")  # fmt: skip

    def __init__(self, shortcuts: Shortcuts, handler: web.RequestHandler) -> None:
        self._shortcuts = shortcuts
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._remote = ""
        self._clean = True
        self._paused = False
        self._handed = 0
        self._long = float("-inf")
        self._data = b""
        self._version: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As the handler's."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self._shortcuts.fronts[self._handler] = self
        self._handler.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """As the handler's."""
        self._shortcuts.fronts.pop(self._handler, None)
        self._clean = False
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """As the handler's."""
        self._paused = True
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """As the handler's."""
        self._paused = False
        self._handler.resume_writing()

    def eof_received(self) -> None:
        """As the handler's."""
        self._clean = False
        self._handler.eof_received()

    def data_received(self, data: bytes) -> None:
        """Answer, or hand on."""
        if not (self._clean and self._answer(data)):
            self._handler.data_received(data)

    def _answer(self, data: bytes) -> bool:
        """Whether that was answered; otherwise it is noted as handed on."""
        now = time.monotonic()
        version = None if self._handed else self._shortcuts.version()
        may = version is not None and not self._paused and now - self._long < LONG_WAY_SECONDS
        if may and self._answer_known(data):
            return True
        self._hand_on(data, version, now)
        return False

    def _answer_known(self, data: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        try:
            answer = self._shortcuts.answer(data, self._handler, self._remote)
        except IsthmusError:
            transport.abort()  # what cannot be noted is not done quietly
            return True
        if answer is None:
            return False
        transport.write(answer)
        return True

    def _hand_on(self, data: bytes, version: int | None, now: float) -> None:
        self._clean = _is_whole(data)
        self._long = now
        is_wanted = version is not None and not self._handed and len(data) <= MAX_REQUEST
        self._data, self._version = (data, version) if self._clean and is_wanted else (b"", None)
        self._handed += 1

    def answered(self, request: web.Request, response: web.StreamResponse) -> None:
        """The handler has answered one that was handed on."""
        self._handed -= 1
        if self._handed == 0 and self._data and self._version is not None:
            self._shortcuts.learn(self._data, self._version, request, response)
        self._data = b""
        if self._handed < 0:
            self._clean = False


def _is_whole(data: bytes) -> bool:
    """Whether these bytes are one request without a body, and nothing else."""
    if data[:5] not in (b"GET /", b"HEAD ") or data.find(_END) != len(data) - 4 or len(data) > 4 * MAX_REQUEST:
        return False
    small = data.lower()
    return not any(name in small for name in _BODY) and small.count(b"\n") == small.count(b"\r\n")
