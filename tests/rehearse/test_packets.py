"""Frames: the beginning of something is told from everything else, whatever the bytes are."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.rehearse.packets import Attempt, attempt_of


def frame(protocol: int, body: bytes, *, fragment: int = 0, kind: int = 0x0800) -> bytes:
    addresses = socket.inet_aton("10.213.1.1") + socket.inet_aton("203.0.113.7")
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0) + addresses
    return bytes(12) + struct.pack(">H", kind) + header + body


def tcp(flags: int) -> bytes:
    return struct.pack(">HHIIBBHHH", 4000, 443, 1, 0, 0x50, flags, 100, 0, 0)


def test_only_the_first_packet_of_a_connection_counts() -> None:
    assert attempt_of(frame(6, tcp(0x02))) == Attempt("10.213.1.1", 4000, "203.0.113.7", 443, "tcp")
    for flags in (0x12, 0x10, 0x18, 0x04, 0x01):
        assert attempt_of(frame(6, tcp(flags))) is None


@pytest.mark.parametrize(("protocol", "name"), [(17, "udp"), (132, "sctp")])
def test_datagrams_count(protocol: int, name: str) -> None:
    body = struct.pack(">HHHH", 5000, 123, 8, 0)
    assert attempt_of(frame(protocol, body)) == Attempt("10.213.1.1", 5000, "203.0.113.7", 123, name)


def test_protocols_without_ports_count() -> None:
    assert attempt_of(frame(1, b"\x08\0\0\0")) == Attempt("10.213.1.1", 0, "203.0.113.7", 0, "icmp")
    assert attempt_of(frame(47, b"")) == Attempt("10.213.1.1", 0, "203.0.113.7", 0, "47")


def test_later_fragments_and_other_protocols_do_not() -> None:
    assert attempt_of(frame(17, bytes(8), fragment=5)) is None
    assert attempt_of(frame(6, tcp(0x02), kind=0x0806)) is None
    assert attempt_of(frame(6, tcp(0x02), kind=0x86DD)) is None


def frame_6(following: int, body: bytes) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    return bytes(12) + struct.pack(">HIHBB", 0x86DD, 6 << 28, len(body), following, 64) + addresses + body


SIX = Attempt("fd00::1", 4000, "2001:db8::7", 443, "tcp")


def test_ipv6_with_any_extension_headers() -> None:
    assert attempt_of(frame_6(6, tcp(0x02))) == SIX
    assert attempt_of(frame_6(6, tcp(0x12))) is None
    hop = bytes([60, 1]) + bytes(14)
    destination = bytes([44, 0]) + bytes(6)
    first = bytes([51, 0, 0, 0]) + bytes(4)
    authentication = bytes([6, 4]) + bytes(22)
    assert attempt_of(frame_6(0, hop + destination + first + authentication + tcp(0x02))) == SIX
    later = bytes([6, 0, 0, 8]) + bytes(4)
    assert attempt_of(frame_6(44, later + tcp(0x02))) is None
    assert attempt_of(frame_6(58, b"\x80\0\0\0")) == Attempt("fd00::1", 0, "2001:db8::7", 0, "icmp")


def test_headers_without_end_are_given_up() -> None:
    endless = bytes([0, 0, 0, 0, 0, 0, 0, 0]) * 100
    assert attempt_of(frame_6(0, endless)) == Attempt("fd00::1", 0, "2001:db8::7", 0, "0")
    assert attempt_of(frame_6(0, bytes([60]))) is None


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    attempt_of(data)
    attempt_of(bytes(12) + b"\x08\0" + data)
    attempt_of(bytes(12) + b"\x86\xdd" + data)


@given(st.lists(st.sampled_from([0, 43, 44, 51, 60, 6, 17, 58, 59]), max_size=20), st.binary(max_size=300))
def test_any_chain_of_headers(kinds: list[int], rest: bytes) -> None:
    attempt_of(frame_6(0, b"".join(bytes([kind, 0]) + bytes(6) for kind in kinds) + rest))
