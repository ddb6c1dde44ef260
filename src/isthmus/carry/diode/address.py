"""`diode://HOST:PORT?rate=50M&redundancy=20&…`: reading it, and the sockets of both ends.

Not here: what goes through them (`packets`).
"""

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from isthmus.errors import UnreachableError, UsageError

_BUFFER: Final = 32 * 1024 * 1024
_FORCE_RECEIVE_BUFFER: Final = 33
_FORCE_SEND_BUFFER: Final = 32
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_KNOWN: Final = ("rate", "redundancy", "repeat", "mtu", "interleave", "interface", "ttl", "session")


@dataclass(frozen=True, slots=True)
class Diode:
    """A one-way link, and how it is to be used.

    `rate` is in bits a second, IP and UDP headers included; `redundancy` in per cent; `repeat` 0 is for ever;
    `mtu` is the size of a datagram's payload; `session` is the beginning of the only session to receive.
    """

    host: str
    port: int
    rate: float = 50e6
    redundancy: float = 20.0
    repeat: int = 1
    mtu: int = 1400
    interleave: int = 64
    interface: str = ""
    ttl: int = 1
    session: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"diode://{host}:{self.port}"


def parse_diode(url: str) -> Diode:
    """Read a target, or where to listen (no host: everywhere); raises UsageError `wrong-usage`."""
    try:
        parts = urlsplit(url)
        host, port = unquote(parts.hostname or ""), parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    if parts.scheme != "diode" or not port or parts.path.strip("/"):
        raise _wrong(url, "not of the form diode://HOST:PORT")
    if unknown := sorted(set(options) - set(_KNOWN)):
        raise _wrong(url, f"unknown options: {', '.join(unknown)}; there are {', '.join(_KNOWN)}")
    try:
        return Diode(
            host,
            port,
            _within("rate", parse_rate(options.get("rate", "50M")), 8e3, 400e9),
            _within("redundancy", float(options.get("redundancy", "20").removesuffix("%")), 0, 200),
            int(_within("repeat", int(options.get("repeat", "1")), 0, 10**6)),
            int(_within("mtu", int(options.get("mtu", "1400")), 300, 65000)),
            int(_within("interleave", int(options.get("interleave", "64")), 1, 1024)),
            options.get("interface", ""),
            int(_within("ttl", int(options.get("ttl", "1")), 1, 255)),
            _session(options.get("session", "")),
        )
    except ValueError as error:
        raise _wrong(url, str(error)) from error


def parse_rate(text: str) -> float:
    """Bits a second from `50M`, `1.5G` or `800k`; raises ValueError."""
    stripped = text.strip().lower().removesuffix("bit/s").removesuffix("bit").removesuffix("bps")
    digits = stripped.rstrip("kmg")
    unit = stripped[len(digits) :]
    if unit not in _UNITS:
        raise ValueError(f"not a rate in bits a second: {text[:40]!r}; write 50M or 1.5G")
    return float(digits) * _UNITS[unit]


@contextmanager
def sending_socket(diode: Diode) -> Iterator[tuple[socket.socket, int]]:
    """A connected socket, and the bytes of IP and UDP headers that each datagram has besides."""
    if not diode.host:
        raise _wrong(str(diode), "say to whom")
    family, address = _resolve(diode, passive=False)
    with _errors(diode), socket.socket(family, socket.SOCK_DGRAM) as link:
        _enlarge(link, socket.SO_SNDBUF, _FORCE_SEND_BUFFER)
        if ipaddress.ip_address(address[0].partition("%")[0]).is_multicast:
            _send_to_group(link, family, diode)
        link.connect(address)
        yield link, 28 if family == socket.AF_INET else 48


@contextmanager
def receiving_socket(diode: Diode) -> Iterator[socket.socket]:
    """A bound socket with as large a buffer as is allowed; a multicast group is joined. Nothing is ever sent."""
    family, address = _resolve(diode, passive=True)
    with _errors(diode), socket.socket(family, socket.SOCK_DGRAM) as link:
        _enlarge(link, socket.SO_RCVBUF, _FORCE_RECEIVE_BUFFER)
        if ipaddress.ip_address(address[0].partition("%")[0]).is_multicast:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _join(link, family, address, diode)
        if not diode.host:
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        link.bind(address)
        yield link


def _resolve(diode: Diode, *, passive: bool) -> tuple[socket.AddressFamily, Any]:
    try:
        flags = socket.AI_PASSIVE if passive else 0
        found = socket.getaddrinfo(diode.host or "::", diode.port, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, UnicodeError) as error:
        raise UnreachableError("unreachable", f"the host is not known: {error}", where=str(diode)) from error
    return found[0][0], found[0][4]


def _send_to_group(link: socket.socket, family: int, diode: Diode) -> None:
    index = _interface(diode)
    if family == socket.AF_INET:
        link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, diode.ttl)
        link.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index)
        )
    else:
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, diode.ttl)
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)


def _join(link: socket.socket, family: int, address: Any, diode: Diode) -> None:
    index = _interface(diode)
    group = socket.inet_pton(family, address[0].partition("%")[0])
    if family == socket.AF_INET:
        link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4si", group, bytes(4), index))
    else:
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("=16si", group, index))


def _interface(diode: Diode) -> int:
    return socket.if_nametoindex(diode.interface) if diode.interface else 0


def _enlarge(link: socket.socket, option: int, forced: int) -> None:
    """Beyond the system's limit where we may (root), up to it otherwise."""
    try:
        link.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
    except OSError:
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, option, _BUFFER)


@contextmanager
def _errors(diode: Diode) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or os.strerror(error.errno or 0)
        raise UnreachableError("unreachable", why, where=str(diode)) from error


def _session(text: str) -> str:
    if len(text) > 32 or text.strip("0123456789abcdef"):
        raise ValueError("a session is named by hexadecimal digits, as the sender prints them")
    return text


def _within(name: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError(f"{name} must be between {least:g} and {most:g}")
    return value


def _wrong(url: str, why: str) -> UsageError:
    return UsageError(
        "wrong-usage", f"{url[:200]!r}: {why}", hint="write diode://HOST:PORT?rate=50M&redundancy=20&repeat=2"
    )
