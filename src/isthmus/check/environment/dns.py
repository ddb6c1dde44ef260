"""DNS as a stub resolver speaks it (RFC 1035, section 4): one question, one answer, over UDP.

Not here: what the answers should be (`contract`).
"""

import ipaddress
import os
import socket
import time
from typing import Final

import msgspec

TYPES: Final = {"A": 1, "AAAA": 28}
CODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_HEADER: Final = 12


class Answer(msgspec.Struct, frozen=True):
    """The response code in words, the addresses, and the seconds that it took."""

    code: str
    addresses: tuple[str, ...]
    seconds: float


def ask(
    server: str, name: str, kind: str = "A", *, port: int = 53, timeout: float = 2.0, tries: int = 2
) -> Answer:
    """The answer of one server. Raises OSError where none came, ValueError where it is not understood."""
    query_id = os.urandom(2)
    question = encoded_name(name) + TYPES[kind].to_bytes(2, "big") + b"\0\1"
    query = query_id + b"\1\0" + b"\0\1" + bytes(6) + question
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    started = time.monotonic()
    for _ in range(tries):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((server, port))  # so that only this server's datagrams are taken
            sock.send(query)
            end = time.monotonic() + timeout
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data = sock.recv(4096)
                except TimeoutError:
                    break
                if data[:2] == query_id and len(data) >= _HEADER and data[2] & 0x80:
                    return _parsed(data, TYPES[kind], time.monotonic() - started)
    raise TimeoutError(f"no answer within {timeout * tries:.0f} s")


def encoded_name(name: str) -> bytes:
    """The labels of a name. Raises ValueError for what cannot be one."""
    labels = name.rstrip(".").encode("idna").split(b".")
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) > 240:
        raise ValueError(f"{name[:100]!r} cannot be a name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _parsed(data: bytes, kind: int, seconds: float) -> Answer:
    code = CODES.get(data[3] & 0x0F, f"code {data[3] & 0x0F}")
    questions, answers = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
    at = _HEADER
    for _ in range(min(questions, 4)):
        at = _after_name(data, at) + 4
    found = []
    for _ in range(min(answers, 64)):
        at = _after_name(data, at)
        if at + 10 > len(data):
            raise ValueError("the answer ends in the middle of a record")
        record, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 8 : at + 10], "big")
        value = data[at + 10 : at + 10 + length]
        if record == kind and len(value) in (4, 16):
            found.append(str(ipaddress.ip_address(value)))
        at += 10 + length
    return Answer(code, tuple(found), seconds)


def _after_name(data: bytes, at: int) -> int:
    """The place behind a name; a pointer ends it (RFC 1035, section 4.1.4)."""
    while at < len(data):
        length = data[at]
        if length >= 0xC0:
            return at + 2
        if length == 0:
            return at + 1
        at += 1 + length
    raise ValueError("the answer ends in the middle of a name")
