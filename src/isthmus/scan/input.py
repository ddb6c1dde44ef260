"""Reading text files with limits: size, compression, encoding; every fault names the file.

Not here: what the text means (`yaml_reader`, `sources/`).
"""

import gzip
import os
import stat
import sys
import zlib
from typing import BinaryIO

from isthmus.errors import UnreachableError, UsageError

MAX_FILE = 128 << 20
"""Bytes of one file, after decompression."""
_GZIP_MAGIC = b"\x1f\x8b"


def read_text(path: str) -> str:
    """The text of a file, decompressed where it is gzip; `-` is standard input.

    Raises UsageError (`file-not-found`, `invalid-input`) or UnreachableError (`io-failed`).
    """
    try:
        if path == "-":
            return decode(_bounded(sys.stdin.buffer, "standard input"), "standard input")
        # A fifo would wait for ever, a device has no end.
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError("invalid-input", "it is not a regular file", where=path)
            return decode(_bounded(file, path), path)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such file", where=path) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreachableError("io-failed", f"it cannot be read: {reason}", where=path) from error


def decode(data: bytes, where: str) -> str:
    """UTF-8 text, without a byte order mark and decompressed where it is gzip.

    Raises UsageError (`invalid-input`).
    """
    if data[:2] == _GZIP_MAGIC:
        data = decompress(data, where)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError("invalid-input", "it is not UTF-8 text", where=f"{where}:{line}") from error
    position = text.find("\0")
    if position >= 0:
        line = text.count("\n", 0, position) + 1
        raise UsageError("invalid-input", "it holds a NUL, which no text file does", where=f"{where}:{line}")
    return text


def decompress(data: bytes, where: str) -> bytes:
    """The content of gzip bytes, at most `MAX_FILE`; raises UsageError (`invalid-input`)."""
    parts: list[bytes] = []
    room = MAX_FILE + 1
    try:
        while data and room > 0:
            stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            part = stream.decompress(data, room)
            if not stream.eof and len(part) < room:
                raise EOFError
            parts.append(part)
            room -= len(part)
            data = stream.unused_data.lstrip(b"\0")
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise UsageError("invalid-input", "it is damaged: it does not decompress as gzip", where=where) from error
    if room <= 0:
        raise _too_large(where)
    return b"".join(parts)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _bounded(file: BinaryIO, where: str) -> bytes:
    data = bytearray()
    while chunk := file.read(1 << 20):  # one large read would take all of the room at once
        data += chunk
        if len(data) > MAX_FILE:
            raise _too_large(where)
    return bytes(data)


def _too_large(where: str) -> UsageError:
    return UsageError(
        "invalid-input", f"it is larger than {MAX_FILE >> 20} MiB", where=where, hint="split it into several files"
    )
