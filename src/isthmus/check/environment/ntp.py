"""Time as SNTP clients ask for it (RFC 5905, section 14). One packet each way. Not here: setting any clock."""

import ipaddress
import os
import socket
import time
from typing import Final

import msgspec

_EPOCH: Final = 2208988800
"""Seconds from 1900 to 1970."""


class Time(msgspec.Struct, frozen=True):
    """`offset` in seconds is what our clock lacks; `reference` is what the server follows."""

    offset: float
    delay: float
    stratum: int
    reference: str


def ask(server: str, port: int = 123, timeout: float = 2.0, tries: int = 2) -> Time:
    """What the server says. Raises OSError where no answer came, ValueError where it is none to go by."""
    family, kind, _, _, address = socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM)[0]
    for _ in range(tries):
        with socket.socket(family, kind) as sock:
            sock.connect(address)
            sock.settimeout(timeout)
            # The time that is sent comes back: a random one is as good, and says which answer is ours.
            cookie = os.urandom(8)
            sent = time.time()
            sock.send(b"\x23" + bytes(39) + cookie)
            try:
                data = sock.recv(512)
            except TimeoutError:
                continue
            received = time.time()
        if len(data) < 48 or data[24:32] != cookie:
            raise ValueError("what came back is no answer to the question")
        return _parsed(data, sent, received)
    raise TimeoutError(f"no answer within {timeout * tries:.0f} s")


def _parsed(data: bytes, sent: float, received: float) -> Time:
    leap, mode, stratum = data[0] >> 6, data[0] & 7, data[1]
    if mode != 4:
        raise ValueError(f"it answers in mode {mode}, which is no server's")
    if stratum == 0:
        raise ValueError(f"it refuses: {data[12:16].decode('ascii', 'replace')}")
    if leap == 3 or stratum > 15:
        raise ValueError("it says that its own clock is not set")
    there, back = _seconds(data[32:40]), _seconds(data[40:48])
    offset = ((there - sent) + (back - received)) / 2
    return Time(offset, (received - sent) - (back - there), stratum, _reference(data[12:16], stratum))


def _seconds(field: bytes) -> float:
    whole, part = int.from_bytes(field[:4], "big"), int.from_bytes(field[4:], "big")
    if whole < 1 << 31:  # the era that begins in 2036 (RFC 4330, section 3)
        whole += 1 << 32
    return whole - _EPOCH + part / (1 << 32)


def _reference(field: bytes, stratum: int) -> str:
    text = field.rstrip(b"\0").decode("ascii", "replace")
    if stratum == 1 and text.isalnum():
        return text
    address = str(ipaddress.IPv4Address(field))
    return "its own clock" if address.startswith("127.127.") or address == "127.0.0.1" else address
