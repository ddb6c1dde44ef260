"""HTTP/1.1 answers and request heads (RFC 9112), as much of it as registries speak; bodies are never copied.

Strict where leniency would let two readers disagree about where an answer ends, and bounded: heads and
trailers by the wire, lines and headers here. In place of `http.client`, which parses headers as mail: on many
small requests that was most of the work. Not here: sockets (`wire`), what answers mean (`exchange`).
"""

import re
from collections.abc import Mapping

from isthmus.registry.wire import Wire

_MOST_HEADERS = 200
_LONGEST_LINE = 64 * 1024
_MOST_TRAILERS = 64 * 1024  # bytes
_PIECE = 64 * 1024

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.([0-9]) +([1-9][0-9]{2})(?: .*)?", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_TARGET = re.compile(r"[\x21-\x7e]+")
_VALUE = re.compile(r"[^\x00\r\n]*")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class NotHttp(Exception):  # noqa: N818  # what it is, not what failed
    """The other side does not keep to the protocol."""


class BrokeOff(Exception):  # noqa: N818
    """The connection ended within a body that says itself where it ends."""


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request's head; raises ValueError for what would not stay on its line."""
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ValueError("a method or target that cannot be sent")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a header that cannot be sent")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Incoming:
    """What comes on one wire: the bytes that were received and not read yet are kept between answers."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held = bytearray()
        self._scratch = memoryview(bytearray(_PIECE))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was received beyond the answers that were read."""
        return not self._held

    def head(self) -> tuple[int, bool, dict[str, list[str]]]:
        """The final answer's status, whether HTTP/1.1 or later is spoken, and headers by their lower-case names.

        Raises ConnectionResetError or what failed on the wire, and NotHttp.
        """
        while True:
            status, is_modern, headers = _parse_head(self._head_text())
            if status >= 200 or status == 101:
                return status, is_modern, headers

    def _head_text(self) -> str:
        looked = seen = lines = 0
        while (found := _HEAD_END.search(self._held, looked)) is None:
            lines += self._held.count(b"\n", seen)
            seen = len(self._held)
            looked = max(0, seen - 3)
            if lines > _MOST_HEADERS:
                raise NotHttp("too many headers")
            if not self._more():
                raise self._wire.error or ConnectionResetError("closed without a whole answer")
        text = self._held[: found.start()].decode("latin-1")
        del self._held[: found.end()]
        return text

    def line(self) -> bytes:
        """A line without its end; raises BrokeOff and NotHttp."""
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > _LONGEST_LINE:
                raise NotHttp("a line without end")
            if not self._more():
                raise BrokeOff
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line.removesuffix(b"\r")

    def _more(self) -> int:
        count = self._wire.receive(self._scratch)
        self._held += self._scratch[:count]
        return count

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; less only at the end or after a failure, which is then in the wire's `error`."""
        done = 0
        if self._held:
            done = min(len(self._held), len(buffer))
            buffer[:done] = self._held[:done]
            del self._held[:done]
        while done < len(buffer):
            count = self._wire.receive(buffer[done:])
            if count == 0:
                break
            done += count
        return done


class Answer:
    """A final answer whose body is still to be read."""

    def __init__(self, incoming: Incoming, method: str) -> None:
        self._incoming = incoming
        self.status, is_modern, self.headers = incoming.head()
        self.length: int | None = None
        self._chunked = False
        self._chunk_left = 0
        self._over = False
        self._frame(method)
        said = self.headers.get("connection", ())
        words = {word.strip().lower() for line in said for word in line.split(",")}
        keeps = "close" not in words and (is_modern or "keep-alive" in words)
        self.will_close = not keeps or (self.length is None and not self._chunked)

    def _frame(self, method: str) -> None:
        """How the body ends (RFC 9112, section 6.3)."""
        if method == "HEAD" or self.status in (101, 204, 304):
            self.length, self._over = 0, True
            return
        codings = [line.strip().lower() for line in self.headers.get("transfer-encoding", ())]
        if codings and codings != ["identity"]:
            if codings != ["chunked"]:
                raise NotHttp("a transfer coding that was not asked for")
            self._chunked = True
            return
        lengths = {part.strip() for line in self.headers.get("content-length", ()) for part in line.split(",")}
        if lengths:
            said = lengths.pop()
            if lengths or not _LENGTH.fullmatch(said):
                raise NotHttp("a length that is none")
            self.length = int(said)
            self._over = self.length == 0

    @property
    def is_over(self) -> bool:
        """Whether the whole body was read, and nothing came behind it."""
        return self._over and self._incoming.is_empty

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; 0 at the end. Raises NotHttp and BrokeOff, having given what came before."""
        if self._over or not len(buffer):
            return 0
        if self._chunked:
            return self._read_chunks(buffer)
        if self.length is None:
            count = self._incoming.readinto(buffer)
        else:
            count = self._incoming.readinto(buffer[: self.length])
            self.length -= count
            self._over = self.length == 0
        return count

    def _read_chunks(self, buffer: memoryview) -> int:
        done = 0
        try:
            while done < len(buffer) and not self._over:
                if self._chunk_left == 0:
                    self._begin_chunk()
                    continue
                count = self._incoming.readinto(buffer[done : done + self._chunk_left])
                done += count
                self._chunk_left -= count
                if count == 0:
                    raise BrokeOff
                if self._chunk_left == 0 and self._incoming.line():
                    raise NotHttp("a chunk that is longer than it says")
        except BrokeOff:
            if not done:
                raise
        return done

    def _begin_chunk(self) -> None:
        match = _CHUNK.fullmatch(self._incoming.line())
        if match is None:
            raise NotHttp("a chunk without a size")
        self._chunk_left = int(match[1], 16)
        if self._chunk_left == 0:
            left = _MOST_TRAILERS
            while line := self._incoming.line():
                left -= len(line)
                if left < 0:
                    raise NotHttp("trailers without end")
            self._over = True


def _parse_head(text: str) -> tuple[int, bool, dict[str, list[str]]]:
    first, *lines = text.split("\n")
    match = _STATUS.fullmatch(first.rstrip("\r"))
    if match is None:
        raise NotHttp("not an answer of HTTP/1.1")
    if len(lines) > _MOST_HEADERS:
        raise NotHttp("too many headers")
    headers: dict[str, list[str]] = {}
    latest: list[str] | None = None
    for raw in lines:
        line = raw.rstrip("\r")
        if line[:1] in (" ", "\t") and latest:
            latest[-1] = f"{latest[-1]} {line.strip()}"
            continue
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise NotHttp("a header that is none")
        latest = headers.setdefault(name.lower(), [])
        latest.append(value.strip())
    return int(match[2]), match[1] != "0", headers
