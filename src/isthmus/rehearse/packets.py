"""What a frame on the site's bridge says of who wants to go where. Pure functions over bytes; nothing raises.

IPv4 (RFC 791), TCP (RFC 9293), UDP (RFC 768). Not here: reading frames.
"""

import ipaddress
from typing import NamedTuple

_IPV4 = 0x0800
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 132: "sctp"}
_SYN, _ACK = 0x02, 0x10


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
    if len(frame) < 34 or int.from_bytes(frame[12:14], "big") != _IPV4:
        return None
    packet = frame[14:]
    header = (packet[0] & 0x0F) * 4
    protocol = _PROTOCOLS.get(packet[9], str(packet[9]))
    if int.from_bytes(packet[6:8], "big") & 0x1FFF:  # a later fragment has no ports
        return None
    source, target = ipaddress.IPv4Address(packet[12:16]), ipaddress.IPv4Address(packet[16:20])
    body = packet[header:]
    if protocol == "tcp":
        if len(body) < 14 or body[13] & (_SYN | _ACK) != _SYN:
            return None
    elif protocol not in ("udp", "sctp"):
        return Attempt(str(source), 0, str(target), 0, protocol)
    if len(body) < 4:
        return None
    ports = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")
    return Attempt(str(source), ports[0], str(target), ports[1], protocol)
