"""Datagrams: 36 bytes of header, then a symbol, a parity symbol, or a piece of the catalogue.

All of a datagram is under a CRC-32, and names the session: the beginning of the SHA-256 of the catalogue, so
that a catalogue proves itself, and with it the files' SHA-256. Not here: what symbols are (`catalogue`).
"""

import zlib
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = b"ISD1"
HEADER: Final = Struct(">4sBBHQ16s")
_CRC: Final = Struct(">I")
HEADER_SIZE: Final = HEADER.size + _CRC.size
LARGEST: Final = 65535
SESSION_SIZE: Final = 16
TOTAL: Final = Struct(">Q")


class Kind(IntEnum):
    """What a datagram carries, and what its number counts."""

    CATALOGUE = 1
    """A piece of the catalogue behind 8 bytes with the catalogue's size; the number is where it begins."""
    DATA = 2
    """A symbol; the number counts all symbols."""
    PARITY = 3
    """A parity symbol; the number is (group × rows + row) × depth + block."""
    END = 4
    """The end of a pass; the number is how many passes are still to come, 2⁶⁴ - 1 if for ever."""


class Packet(NamedTuple):
    """A datagram that arrived intact."""

    kind: int
    number: int
    session: bytes
    payload: memoryview


def head(kind: Kind, number: int, session: bytes, payload: bytes | memoryview) -> bytes:
    """The header in front of a payload."""
    front = HEADER.pack(MAGIC, kind, 0, len(payload), number, session)
    return front + _CRC.pack(zlib.crc32(payload, zlib.crc32(front)))


def parse(datagram: bytes) -> Packet | None:
    """What arrived; None where it is not ours or not intact."""
    if len(datagram) < HEADER_SIZE or datagram[:4] != MAGIC:
        return None
    _, kind, zero, length, number, session = HEADER.unpack_from(datagram)
    view = memoryview(datagram)
    payload = view[HEADER_SIZE:]
    (checksum,) = _CRC.unpack_from(datagram, HEADER.size)
    if zero or length != len(payload) or zlib.crc32(payload, zlib.crc32(view[: HEADER.size])) != checksum:
        return None
    return Packet(kind, number, session, payload)
