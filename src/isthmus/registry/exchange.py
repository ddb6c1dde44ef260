"""One request and its answer on one connection. Not here: where connections come from (`transport`)."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from isthmus.errors import UnreachableError
from isthmus.oci.digest import Buffer
from isthmus.registry import failures
from isthmus.registry.endpoint import Origin
from isthmus.registry.http1 import Answer, BrokeOff, Incoming, NotHttp, request_head
from isthmus.registry.pace import Slot
from isthmus.registry.proxy import Proxy
from isthmus.registry.wire import Wire

_DRAIN = 64 * 1024  # reading so much to keep a connection is cheaper than a new one
_FAILURES = (OSError, NotHttp, BrokeOff, ValueError)


@dataclass(frozen=True)
class Connection:
    """What HTTP is spoken on."""

    origin: Origin
    incoming: Incoming
    wire: Wire
    proxy: Proxy | None = None
    """The proxy that requests are sent to as such, for plain HTTP."""

    @classmethod
    def on(cls, origin: Origin, wire: Wire, proxy: Proxy | None = None) -> Self:
        """HTTP on a wire; never opened again by itself."""
        forwarding = proxy if proxy is not None and proxy.forwards(origin) else None
        return cls(origin, Incoming(wire), wire, forwarding)

    def close(self) -> None:
        """Close the socket."""
        self.wire.shut()


class Exchange:
    """A request on its way; `finish` gives the answer."""

    def __init__(
        self,
        connection: Connection,
        give_back: Callable[[Connection], None],
        slot: Slot,
        *,
        reused: bool,
    ) -> None:
        self.reused = reused
        self.was_dropped = False
        """Whether the host closed the connection before the whole request was sent or answered."""
        self.authorization = ""
        """What it was begun with, as far as whoever finishes it must know."""
        self._connection = connection
        self._origin = connection.origin
        self._give_back = give_back
        self._slot = slot
        self._method = ""
        self._over = False

    def head(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request line, headers and a first piece of the body."""
        proxy = self._connection.proxy
        self._method = method
        if proxy is not None:
            target = f"http://{self._origin.authority}{target}"
            headers = {**headers, "Proxy-Authorization": proxy.authorization} if proxy.authorization else headers
        try:
            named = {"Host": self._origin.authority, "Accept-Encoding": "identity", **headers}
            self._connection.wire.sendall(request_head(method, target, named) + body)
        except _FAILURES as error:
            if not failures.is_drop(error):
                raise self._failed(error) from error
            self.was_dropped = True  # an answer may have come all the same
        except BaseException:
            self.abort()
            raise

    def send(self, chunk: Buffer) -> None:
        """Send more of the body. Look at `was_dropped` then: the host may have answered and stopped listening."""
        if self.was_dropped:
            return
        try:
            self._connection.wire.sendall(chunk)
        except OSError as error:
            if not failures.is_drop(error):
                raise self._failed(error) from error
            self.was_dropped = True

    def finish(self, patience: float = 0.0) -> "Response":
        """Wait for the answer, `patience` seconds longer than usual for its first byte."""
        wire = self._connection.wire
        wire.expect_head(patience)
        try:
            answer = Answer(self._connection.incoming, self._method)
        except _FAILURES as error:
            cause = wire.error or error
            self.was_dropped = failures.is_drop(cause)
            raise self._failed(cause) from error
        except BaseException:
            self.abort()
            raise
        wire.expect_body()
        self._over = True
        response = Response(self._origin, answer, wire, self._end, self._slot)
        limit, left = response.header("RateLimit-Limit"), response.header("RateLimit-Remaining")
        self._slot.answered(response.status, response.header("Retry-After"), limit, left)
        return response

    def abort(self) -> None:
        """Give up: the connection is closed. Does nothing once the answer is there."""
        if not self._over:
            self._over = True
            self._end(usable=False)

    def _end(self, *, usable: bool) -> None:
        if usable:
            self._give_back(self._connection)
        else:
            self._connection.close()
        self._slot.give_back()

    def _failed(self, error: Exception) -> UnreachableError:
        if failures.is_drop(error) and not self.reused:
            self._slot.dropped()
        self.abort()
        return failures.from_exception(error, self._origin.authority)


class Response:
    """An answer whose body is still to be read; `close` it, read or not."""

    def __init__(self, origin: Origin, answer: Answer, wire: Wire, end: Callable[..., None], slot: Slot) -> None:
        self.origin = origin
        self.status = answer.status
        self.length = answer.length
        """Bytes of the body still to come, where the host said so."""
        self.secrets: tuple[str, ...] = ()
        """What the host was sent in its URL and must not be repeated: the parameters of a signed one."""
        self._answer = answer
        self._wire = wire
        self._end = end
        self._slot = slot
        self._broken: UnreachableError | None = None
        self._closed = False
        self._kept: bytes | None = None

    def header(self, name: str) -> str:
        """A header's value, several joined by commas; empty where there is none."""
        return ", ".join(self._answer.headers.get(name.lower(), ()))

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; 0 at the end. What came before a failure is given first."""
        if self._broken is not None:
            raise self._broken
        try:
            count = self._answer.readinto(buffer)
        except _FAILURES as error:
            count = 0
            self._break(error)
        if count == 0 and self._broken is not None:
            raise self._broken
        if count == 0 and len(buffer) and self._wire.error is not None:
            self._break(self._wire.error)
            raise self._broken or AssertionError
        if self.length is not None:
            self.length -= count
            if count == 0 and self.length and len(buffer):
                self._broken = self._broke_off()
                raise self._broken
        return count

    def read(self, limit: int) -> bytes:
        """The whole body, or what `keep_body` kept; raises UnreachableError (`protocol`) beyond `limit` bytes."""
        if self._kept is not None:
            return self._kept
        if self.length is not None and self.length > limit:
            raise failures.protocol(
                f"{self.origin.authority} sends {self.length} bytes; at most {limit} are allowed"
            )
        body = bytearray()
        buffer = memoryview(bytearray(min(limit + 1, 64 * 1024)))
        while count := self.readinto(buffer):
            body += buffer[:count]
            if len(body) > limit:
                raise failures.protocol(
                    f"{self.origin.authority} sends more than the {limit} bytes that are allowed"
                )
        return bytes(body)

    def keep_body(self, limit: int) -> None:
        """Read the body for a later `read`, and give the connection back now; nothing where it is too long."""
        try:
            kept = self.read(limit)
        except UnreachableError:
            kept = b""
        self.close()
        self._kept = kept

    def close(self) -> None:
        """Give the connection back, or close it where too much of the body was not read."""
        if self._closed:
            return
        self._closed = True
        usable = False
        try:
            with contextlib.suppress(UnreachableError):
                usable = self._drain()
        finally:
            self._end(usable=usable)

    def _drain(self) -> bool:
        if self._broken is not None or self._answer.will_close:
            return False
        left = _DRAIN
        buffer = memoryview(bytearray(16 * 1024))
        if self.length is not None and self.length > left:
            return False
        while left > 0 and not self._answer.is_over:
            count = self.readinto(buffer)
            if count == 0:
                break
            left -= count
        return self._answer.is_over

    def _break(self, error: Exception) -> None:
        cause = self._wire.error or error
        self._broken = failures.from_exception(cause, self.origin.authority)
        self._broken.__cause__ = cause
        if failures.is_drop(cause):
            self._slot.dropped()

    def _broke_off(self) -> UnreachableError:
        self._slot.dropped()
        return UnreachableError(
            "unreachable",
            f"the answer of {self.origin.authority} broke off with {self.length} bytes still to come",
            temporary=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
