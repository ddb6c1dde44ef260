"""Pooled keep-alive connections: one HTTP/1.1 exchange at a time on each, bounded in number for each origin.

Not here: how that number adapts to the host (`pace`); which host, what credentials, whether to try again
(`session`).
"""

import threading
import time
from collections.abc import Mapping

from isthmus.errors import UnreachableError
from isthmus.registry import failures
from isthmus.registry.dial import dial
from isthmus.registry.endpoint import Origin
from isthmus.registry.exchange import Connection, Exchange, Response
from isthmus.registry.options import ConnectionOptions
from isthmus.registry.pace import Pace, Slot
from isthmus.registry.proxy import find_proxy
from isthmus.registry.wire import Wire

_MANY_ORIGINS = 32
_IDLE_LIFE = 60.0  # seconds; a router may have forgotten an older connection without telling


class Transport:
    """Connections to any number of origins, at most `max_connections` to each; safe for threads."""

    def __init__(self, options: ConnectionOptions, own_host: str) -> None:
        self.requests = 0
        self._options = options
        self._own_host = own_host
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[tuple[Connection, float]]] = {}
        self._paces: dict[Origin, Pace] = {}
        self._closed = False

    def start(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *,
        fresh: bool = False,
    ) -> Exchange:  # fmt: skip
        """Send the head and what body is there; more may follow with `Exchange.send`."""
        pace = self._pace(origin)
        slot = self._slot(pace, origin)
        try:
            connection, reused = self._connection(origin, fresh=fresh)
        except BaseException:
            slot.give_back()
            raise
        exchange = Exchange(connection, self._give_back, slot, reused=reused)
        exchange.head(method, target, {"User-Agent": self._options.user_agent, **headers}, body)
        return exchange

    def request(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *,
        repeatable: bool = True,
    ) -> Response:  # fmt: skip
        """A whole exchange. A kept connection that the host closed meanwhile is replaced at once."""
        fresh = False
        while True:
            exchange: Exchange | None = None
            try:
                exchange = self.start(origin, method, target, headers, body, fresh=fresh)
                return exchange.finish()
            except UnreachableError as error:
                if fresh or exchange is None or not (exchange.reused and repeatable and exchange.was_dropped):
                    raise
                del error
                fresh = True

    def close(self) -> None:
        """Close idle connections; those in use close when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection, _ in connections:
                connection.close()

    def _give_back(self, connection: Connection) -> None:
        """Keep a connection whose last exchange is over."""
        with self._lock:
            if not self._closed:
                self._idle.setdefault(connection.origin, []).append((connection, time.monotonic()))
                return
        connection.close()

    def _pace(self, origin: Origin) -> Pace:
        with self._lock:
            self.requests += 1
            pace = self._paces.get(origin)
            if pace is None:
                self._forget_some()
                pace = self._paces[origin] = Pace(self._options.max_connections, self._options.longest_wait)
            return pace

    def quota(self, origin: Origin) -> str:
        """What a host said of the requests that are left, where they are few."""
        with self._lock:
            pace = self._paces.get(origin)
        return pace.quota if pace is not None else ""

    def _slot(self, pace: Pace, origin: Origin) -> Slot:
        slot = pace.take(self._options.read_timeout)
        if slot is None:
            raise UnreachableError(
                "unreachable",
                f"all {self._options.max_connections} connections to {origin.authority} are in use",
                hint="allow more connections, or fewer jobs",
                temporary=True,
            )
        return slot

    def _forget_some(self) -> None:
        """A host that redirects to ever new hosts must not fill the memory."""
        if len(self._paces) < _MANY_ORIGINS:
            return
        for origin in list(self._paces):
            if origin.host != self._own_host:
                del self._paces[origin]
                for connection, _ in self._idle.pop(origin, []):
                    connection.close()

    def _connection(self, origin: Origin, *, fresh: bool) -> tuple[Connection, bool]:
        while not fresh:
            with self._lock:
                idle = self._idle.get(origin)
                if not idle:
                    break
                connection, since = idle.pop()
            if time.monotonic() - since < _IDLE_LIFE and connection.wire.is_quiet():
                return connection, True
            connection.close()
        return self._connect(origin), False

    def _connect(self, origin: Origin) -> Connection:
        options = self._options
        try:
            sock = dial(origin, options, own_host=origin.host == self._own_host)
        except OSError as error:
            raise failures.from_exception(error, origin.authority) from error
        wire = Wire(sock, minimum_rate=options.minimum_rate, window=options.read_timeout)
        return Connection.on(origin, wire, find_proxy(origin, options.proxy))
