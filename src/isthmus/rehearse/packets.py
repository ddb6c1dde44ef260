"""What a frame on the site's bridge says of who wants to go where. Pure functions over bytes; nothing raises.

IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200, section 4), TCP (RFC 9293), UDP (RFC 768). Not here:
reading frames.
"""

import ipaddress
from typing import NamedTuple

_IPV4, _IPV6 = 0x0800, 0x86DD
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp", 132: "sctp"}
_SYN, _ACK = 0x02, 0x10
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_MOST_HEADERS = 8


class Attempt(NamedTuple):
    """Somebody at `source` wants to reach `target`; ports are 0 where the protocol has none."""

    source: str
    source_port: int
    target: str
    port: int
    protocol: str


def attempt_of(frame: bytes) -> Attempt | None:
    """The beginning of something in an Ethernet frame; None for everything else.

    Of TCP only the first packet of a connection counts, of the rest each.
    """
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _IPV4:
        return _version_4(frame[14:])
    if kind == _IPV6:
        return _version_6(frame[14:])
    return None


def _version_4(packet: bytes) -> Attempt | None:
    if len(packet) < 20 or int.from_bytes(packet[6:8], "big") & 0x1FFF:  # a later fragment has no ports
        return None
    source, target = ipaddress.IPv4Address(packet[12:16]), ipaddress.IPv4Address(packet[16:20])
    return _above(str(source), str(target), packet[9], packet[(packet[0] & 0x0F) * 4 :])


def _version_6(packet: bytes) -> Attempt | None:
    if len(packet) < 40:
        return None
    source, target = ipaddress.IPv6Address(packet[8:24]), ipaddress.IPv6Address(packet[24:40])
    following, body = packet[6], packet[40:]
    for _ in range(_MOST_HEADERS):
        if following not in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION):
            return _above(str(source), str(target), following, body)
        if len(body) < 8:
            return None
        if following == _FRAGMENT:
            if int.from_bytes(body[2:4], "big") & 0xFFF8:
                return None
            length = 8
        elif following == _AUTHENTICATION:
            length = (body[1] + 2) * 4
        else:
            length = (body[1] + 1) * 8
        following, body = body[0], body[length:]
    # Nobody needs so many; that something is sent is still known.
    return Attempt(str(source), 0, str(target), 0, str(following))


def _above(source: str, target: str, number: int, body: bytes) -> Attempt | None:
    protocol = _PROTOCOLS.get(number, str(number))
    if protocol == "tcp":
        if len(body) < 14 or body[13] & (_SYN | _ACK) != _SYN:
            return None
    elif protocol not in ("udp", "sctp"):
        return Attempt(source, 0, target, 0, protocol)
    if len(body) < 4:
        return None
    ports = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")
    return Attempt(source, ports[0], target, ports[1], protocol)
