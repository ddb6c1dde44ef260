"""SFTP, version 3 (draft-ietf-secsh-filexfer-02), over the SFTP subsystem of a connection: what sending needs.

Requests are sent ahead of their answers. OpenSSH's extensions `posix-rename@openssh.com`, `fsync@openssh.com`
and `statvfs@openssh.com` are used where the server has them. Not here: what is sent (`sftp_far`).
"""

import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from isthmus.carry.ssh.failures import failure
from isthmus.carry.ssh.link import Link
from isthmus.errors import UnreachableError

BLOCK: Final = 32 * 1024
"""Every server takes so much in one packet."""
_WINDOW: Final = 64
_MAX_PACKET: Final = 256 * 1024

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _WRITE = 1, 2, 3, 4, 5, 6
_MKDIR, _STAT, _RENAME, _REMOVE = 14, 17, 18, 13
_STATUS, _HANDLE, _DATA, _ATTRS, _EXTENDED, _EXTENDED_REPLY = 101, 102, 103, 105, 200, 201
READ, WRITE, CREATE, TRUNCATE = 1, 2, 8, 16
_OK, _EOF, _NO_SUCH_FILE = 0, 1, 2
_SAYS: Final = {3: "Permission denied", 4: "failure (often: the disk is full)", 8: "operation unsupported"}


class Sftp:
    """One session; its calls take turns. Raises UnreachableError."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._running = link.start("-s", "sftp")
        self._number = 0
        self._answered = 0
        self._lock = threading.RLock()
        self._extensions: set[bytes] = set()
        try:
            self._put(struct.pack(">BI", _INIT, 3))
            self._flush()
            answer = self._packet()
            if len(answer) < 5 or answer[0] != _VERSION:
                raise self._strange()
            rest = answer[5:]
            while rest:
                name, rest = _string(rest)
                _, rest = _string(rest)
                self._extensions.add(name)
        except BaseException:
            self.close()
            raise

    def size(self, path: str) -> int | None:
        """A plain file's size in bytes, or None where there is none."""
        with self._lock:
            kind, body = self._ask(_STAT, _text(path))
            if kind == _STATUS and _code(body) == _NO_SUCH_FILE:
                return None
            if kind != _ATTRS:
                raise self._refused(body, path)
            flags = int.from_bytes(body[:4], "big")
            if not flags & 1 or len(body) < 12:
                raise self._strange()
            place = 12 + (8 if flags & 2 else 0)
            mode = int.from_bytes(body[place : place + 4], "big") if flags & 4 else 0o100000
            return int.from_bytes(body[4:12], "big") if mode & 0o170000 == 0o100000 else None

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it; what is there is left alone."""
        with self._lock:
            parts = path.rstrip("/").split("/")
            for count in range(1, len(parts) + 1):
                place = "/".join(parts[:count])
                if place and place != ".":
                    self._ask(_MKDIR, _text(place) + struct.pack(">I", 0))
            kind, body = self._ask(_STAT, _text(path))
            if kind != _ATTRS:
                raise self._refused(body, path)

    def free(self, path: str) -> int | None:
        """Bytes that are free there, where the server says so."""
        if b"statvfs@openssh.com" not in self._extensions:
            return None
        with self._lock:
            kind, body = self._ask(_EXTENDED, _text("statvfs@openssh.com") + _text(path))
            if kind != _EXTENDED_REPLY or len(body) < 40:
                return None
            fields = struct.unpack(">5Q", body[:40])
            return int(fields[1] * fields[4])

    def open(self, path: str, flags: int) -> bytes:
        """A handle."""
        with self._lock:
            kind, body = self._ask(_OPEN, _text(path) + struct.pack(">II", flags, 0))
            if kind != _HANDLE:
                raise self._refused(body, path)
            return _string(body)[0]

    def shut(self, handle: bytes) -> None:
        """Give a handle back; what was written is on the disk then, where the server can say so."""
        with self._lock:
            self._done(self._ask(_CLOSE, _bytes(handle)), "")

    def flush(self, handle: bytes) -> None:
        """Have the server write to its disk, where it can."""
        if b"fsync@openssh.com" in self._extensions:
            with self._lock:
                self._done(self._ask(_EXTENDED, _text("fsync@openssh.com") + _bytes(handle)), "")

    def write(self, handle: bytes, offset: int, pieces: Iterable[memoryview], path: str) -> None:
        """Write pieces one after the other from `offset` on."""
        with self._lock:
            waiting = 0
            for piece in pieces:
                for start in range(0, len(piece), BLOCK):
                    block = piece[start : start + BLOCK]
                    self._send(_WRITE, _bytes(handle) + struct.pack(">QI", offset, len(block)) + bytes(block))
                    offset += len(block)
                    waiting += 1
                    if waiting > _WINDOW:
                        self._flush()
                        self._done(self._answer(), path)
                        waiting -= 1
                self._flush()
            for _ in range(waiting):
                self._done(self._answer(), path)

    def read(self, handle: bytes, start: int, end: int, path: str) -> Iterator[bytes]:
        """The bytes of a range, in blocks of BLOCK; fewer where the file ends. Must be read to the end."""
        asked: deque[tuple[int, int]] = deque()
        with self._lock:
            place = start
            while place < end or asked:
                while place < end and len(asked) < _WINDOW:
                    length = min(BLOCK, end - place)
                    self._send(_READ, _bytes(handle) + struct.pack(">QI", place, length))
                    asked.append((place, length))
                    place += length
                self._flush()
                _, length = asked.popleft()
                kind, body = self._answer()
                if kind == _STATUS and _code(body) == _EOF:
                    yield b""
                    continue
                if kind != _DATA:
                    raise self._refused(body, path)
                # A short answer before the end is possible by the draft, but no server gives one for a file.
                yield _string(body)[0][:length]

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step where the server can replace one that is there."""
        with self._lock:
            if b"posix-rename@openssh.com" in self._extensions:
                name = _text("posix-rename@openssh.com")
                self._done(self._ask(_EXTENDED, name + _text(old) + _text(new)), new)
                return
            self._ask(_REMOVE, _text(new))
            self._done(self._ask(_RENAME, _text(old) + _text(new)), new)

    def close(self) -> None:
        """End the session."""
        self._running.stop()

    def _ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        self._send(kind, body)
        self._flush()
        return self._answer()

    def _send(self, kind: int, body: bytes) -> None:
        self._number = (self._number + 1) % 2**32
        self._put(struct.pack(">BI", kind, self._number) + body)

    def _put(self, packet: bytes) -> None:
        assert self._running.stdin
        try:
            self._running.stdin.write(struct.pack(">I", len(packet)) + packet)
        except OSError as error:
            raise self._lost() from error

    def _flush(self) -> None:
        assert self._running.stdin
        try:
            self._running.stdin.flush()
        except OSError as error:
            raise self._lost() from error

    def _answer(self) -> tuple[int, bytes]:
        packet = self._packet()
        # Servers may answer in another order by the draft; the usual ones do not, and nothing else is taken.
        self._answered = (self._answered + 1) % 2**32
        if len(packet) < 5 or int.from_bytes(packet[1:5], "big") != self._answered:
            raise self._strange()
        return packet[0], packet[5:]

    def _packet(self) -> bytes:
        head = self._running.stdout.read(4)
        if len(head) < 4:
            raise self._lost()
        length = int.from_bytes(head, "big")
        if not 0 < length <= _MAX_PACKET:
            raise self._strange()
        packet = self._running.stdout.read(length)
        if len(packet) < length:
            raise self._lost()
        return packet

    def _done(self, answer: tuple[int, bytes], path: str) -> None:
        kind, body = answer
        if kind != _STATUS or _code(body) != _OK:
            raise self._refused(body if kind == _STATUS else b"", path)

    def _refused(self, body: bytes, path: str) -> UnreachableError:
        code, message = _code(body), ""
        with suppress(UnreachableError):
            message = _string(body[4:])[0].decode(errors="replace")
        says = _SAYS.get(code, message or f"SFTP status {code}")
        return failure(f"{path}: {says}", self._link.where, 1)

    def _lost(self) -> UnreachableError:
        error = self._link.failed(self._running.complaint, None)
        assert isinstance(error, UnreachableError)
        return error

    def _strange(self) -> UnreachableError:
        return UnreachableError("protocol", "the server does not speak SFTP 3", where=self._link.where)


def _text(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _string(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise UnreachableError("protocol", "the SFTP server's answer is cut off")
    return data[4 : 4 + length], data[4 + length :]


def _code(body: bytes) -> int:
    return int.from_bytes(body[:4], "big") if len(body) >= 4 else -1
