"""A simulator of a badly behaving HTTP server: a table of what is asked and what happens then.

It is a simulator, not a registry: it knows nothing of images. Each rule says what requests it is for and
what to answer, down to the byte where the connection is cut; rules are tried in order, and one with `times`
is used up. What was asked is kept in `requests`. For registries that behave, the tests use a real one.
"""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True)
class Reply:
    """What to answer. With `cut` the connection ends after so many bytes of the body; -1 is before any answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None
    """A Content-Length other than the true one."""
    raw: bytes | None = None
    """Everything, status line included, as it is."""
    drip: float = 0
    """Seconds between single bytes."""
    endless: bytes = b""
    """What to repeat after that until the client goes away."""
    read_body: bool = True
    """False answers before the request's body was read, and closes."""


Answer = Reply | Callable[[Asked], Reply]


@dataclass
class Rule:
    method: str
    target: str
    """A regular expression for the whole target, query included."""
    answer: Answer
    times: int | None = None

    def takes(self, method: str, target: str) -> bool:
        return self.times != 0 and self.method == method and re.fullmatch(self.target, target) is not None


class FaultServer:
    """Listens on a port of its own until closed."""

    def __init__(self, rules: Iterable[Rule] = (), tls: ssl.SSLContext | None = None) -> None:
        self.rules = list(rules)
        self.requests: list[Asked] = []
        self.connections = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}"

    def on(self, method: str, target: str, answer: Answer, times: int | None = None) -> Self:
        self.rules.append(Rule(method, target, answer, times))
        return self

    def asked(self, method: str = "") -> list[str]:
        """Return `METHOD target` of all requests so far, of one method where given."""
        return [f"{one.method} {one.target}" for one in self.requests if not method or one.method == method]

    def close(self) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            _shut(connection)
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            elif connection.recv(1, socket.MSG_PEEK) == b"\x16":
                return  # a TLS greeting, which this server does not understand
            with self._lock:
                self._open.add(connection)
                self.connections += 1
            stream = connection.makefile("rb")
            with stream:
                while not self._closing.is_set() and self._one(connection, stream):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            _shut(connection)

    def _one(self, connection: socket.socket, stream: BinaryIO) -> bool:
        head = _read_head(stream)
        if head is None:
            return False
        method, target, headers = head
        with self._lock:
            rule = next((rule for rule in self.rules if rule.takes(method, target)), None)
            if rule is not None and rule.times is not None:
                rule.times -= 1
        answer = rule.answer if rule else Reply(404, b'{"errors":[{"code":"UNKNOWN","message":"no rule"}]}')
        early = isinstance(answer, Reply) and not answer.read_body
        length = 0 if early else int(headers.get("content-length", "0"))
        body = stream.read(length)
        asked = Asked(method, target, headers, body)
        with self._lock:
            self.requests.append(asked)
        if len(body) < length:
            return False
        reply = answer if isinstance(answer, Reply) else answer(asked)
        return self._send(connection, asked, reply) and not early

    def _send(self, connection: socket.socket, asked: Asked, reply: Reply) -> bool:
        if reply.cut == -1:
            return False
        if reply.raw is not None:
            self._drip(connection, reply.raw, reply)
            return False
        length = len(reply.body) if reply.length is None else reply.length
        headers = {"Content-Length": str(length), **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if asked.method == "HEAD":
            return True
        self._drip(connection, reply.body if reply.cut is None else reply.body[: reply.cut], reply)
        return reply.cut is None and reply.length is None and not reply.endless

    def _drip(self, connection: socket.socket, data: bytes, reply: Reply) -> None:
        if not reply.drip:
            connection.sendall(data)
        for index in range(len(data) if reply.drip else 0):
            connection.sendall(data[index : index + 1])
            time.sleep(reply.drip)
        while reply.endless and not self._closing.is_set():
            connection.sendall(reply.endless)
            time.sleep(reply.drip)


def _read_head(stream: BinaryIO) -> tuple[str, str, dict[str, str]] | None:
    line = stream.readline(65536)
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline(65536)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return method, target, headers


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
