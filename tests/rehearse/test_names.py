"""The rehearsal's name server: the site's names, and for all others a place that leads nowhere."""

import ipaddress
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from isthmus.rehearse.names import SINK, SINK_6, NameServer

A, AAAA = 1, 28


def query(name: str, kind: int = A, number: int = 7) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def code(answer: bytes) -> int:
    return answer[3] & 0x0F


def addresses(answer: bytes) -> list[str]:
    count = int.from_bytes(answer[6:8], "big")
    return [socket.inet_ntoa(answer[len(answer) - 4 :])] if count else []


def test_the_sites_names_are_answered_and_not_reported() -> None:
    server = NameServer({"registry.site.internal": "10.213.0.1"})
    answer, asked = server.answer(query("Registry.Site.internal"))
    assert (addresses(answer), asked, answer[:2]) == (["10.213.0.1"], "", b"\0\7")
    answer, asked = server.answer(query("registry.site.internal", AAAA))
    assert (addresses(answer), code(answer), asked) == ([], 0, "")


def test_other_names_are_reported_and_lead_nowhere() -> None:
    server = NameServer({})
    answer, asked = server.answer(query("example.com"))
    (address,) = addresses(answer)
    assert asked == "example.com"
    assert address in {str(host) for host in SINK.hosts() if str(host).startswith("198.18.0.")}
    assert server.name_of(address) == "example.com"
    assert addresses(server.answer(query("example.com"))[0]) == [address]
    assert addresses(server.answer(query("other.example.com"))[0]) != [address]


def test_with_ipv6_a_name_has_two_addresses_and_is_one() -> None:
    server = NameServer({"registry.site.internal": "10.213.0.1"}, six=True)
    answer, asked = server.answer(query("example.com", AAAA))
    assert (asked, int.from_bytes(answer[6:8], "big")) == ("example.com", 1)
    address = socket.inet_ntop(socket.AF_INET6, answer[-16:])
    assert ipaddress.ip_address(address) in SINK_6
    (four,) = addresses(server.answer(query("example.com"))[0])
    assert server.name_of(address) == server.name_of(four) == "example.com"
    assert addresses(server.answer(query("registry.site.internal", AAAA))[0]) == []
    assert addresses(NameServer({}).answer(query("example.com", AAAA))[0]) == []


def test_without_a_sink_they_are_refused_as_at_the_site() -> None:
    answer, asked = NameServer({}, sink=False).answer(query("example.com"))
    assert (code(answer), asked) == (2, "example.com")


@given(st.binary(max_size=600))
def test_any_bytes_are_answered_or_ignored(data: bytes) -> None:
    answer, asked = NameServer({"a": "10.0.0.1"}).answer(data)
    assert len(answer) <= len(data) + 16
    assert isinstance(asked, str)


@given(st.binary(max_size=100))
def test_what_begins_as_a_query_too(tail: bytes) -> None:
    answer, _ = NameServer({}).answer(struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + tail)
    assert answer[:2] == b"\0\1"
