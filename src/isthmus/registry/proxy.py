"""Which proxy leads to a host, and the first words to it: HTTP CONNECT and SOCKS 5 (`ssh -D`).

The environment is read as curl and Go do: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in lower case too.
This machine itself is never reached through a proxy of the environment. Not here: TLS (`dial`).
"""

import base64
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from isthmus.errors import UsageError
from isthmus.registry.endpoint import Origin, is_loopback

_HEAD_LIMIT = 64 * 1024
_PORTS = {"http": 8080, "socks5": 1080}
_SOCKS_FAILURES = {
    1: "general failure", 2: "not allowed", 3: "network unreachable", 4: "host unreachable",
    5: "connection refused", 6: "timed out", 7: "unsupported command", 8: "unsupported address",
}  # fmt: skip


@dataclass(frozen=True)
class Proxy:
    """A proxy; its password is never shown."""

    scheme: str
    """`http` or `socks5`."""
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def authorization(self) -> str:
        """The Proxy-Authorization header, or nothing."""
        pair = f"{self.username}:{self.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode() if self.username else ""

    def forwards(self, origin: Origin) -> bool:
        """Whether requests are sent to the proxy as such (plain HTTP), not through a tunnel."""
        return self.scheme == "http" and origin.scheme == "http"


class ProxyError(OSError):
    """The proxy would not lead on; in words that hold no secrets."""


def find_proxy(origin: Origin, given: str | None, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy to use: `given` for everything where it is not None (empty for none), else the environment's.

    Raises UsageError (`invalid-config`), without repeating the URL.
    """
    if given is not None:
        return parse_proxy(given) if given else None
    names = (f"{origin.scheme}_proxy", "all_proxy")
    url = next((found for name in names if (found := _variable(environment, name))), "")
    if not url or is_loopback(origin.host) or _is_exempt(origin, _variable(environment, "no_proxy")):
        return None
    return parse_proxy(url)


def parse_proxy(url: str) -> Proxy:
    """A proxy's URL: `http://[user:password@]host[:port]`, `socks5://…`, `socks5h://…`; without a scheme, http.

    Raises UsageError (`invalid-config`).
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    scheme = {"socks5h": "socks5", "socks": "socks5"}.get(parts.scheme, parts.scheme)
    if scheme not in _PORTS or not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise UsageError(
            "invalid-config",
            "the proxy is not an http:// or socks5:// URL",
            hint="look at HTTPS_PROXY and ALL_PROXY",
        )
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if len(username.encode()) > 255 or len(password.encode()) > 255:
        raise UsageError("invalid-config", "the proxy's user name or password is too long")
    return Proxy(scheme, host, port or _PORTS[scheme], username, password)


def lead_on(sock: socket.socket, proxy: Proxy, origin: Origin) -> None:
    """Have the proxy connect to the origin; from then on the socket is as if connected to it. Raises OSError."""
    if proxy.scheme == "socks5":
        _socks(sock, proxy, origin)
    elif not proxy.forwards(origin):
        _tunnel(sock, proxy, origin)


def _variable(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name) or environment.get(name.upper()) or "").strip()


def _is_exempt(origin: Origin, exempt: str) -> bool:
    host = origin.host.lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in re.split(r"[,\s]+", exempt.lower()):
        name, _, port = entry.rpartition(":") if re.fullmatch(r"[^:]+:[0-9]+", entry) else (entry, "", "")
        if not name or (port and int(port) != origin.port):
            continue
        if name == "*" or host == name.lstrip(".") or host.endswith("." + name.removeprefix("*").lstrip(".")):
            return True
        if address is not None and _in_network(address, name):
            return True
    return False


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return False


def _tunnel(sock: socket.socket, proxy: Proxy, origin: Origin) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the tunnel
        head += _exactly(sock, 1)
        if len(head) > _HEAD_LIMIT:
            raise ProxyError("the proxy's answer has no end")
    status = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
    if status is None:
        raise ProxyError("the proxy does not speak HTTP")
    if not status[1].startswith(b"2"):
        raise ProxyError(f"the proxy refused with HTTP {status[1].decode()}")


def _socks(sock: socket.socket, proxy: Proxy, origin: Origin) -> None:
    """RFC 1928 and, for a password, RFC 1929. The name is resolved by the proxy."""
    sock.sendall(b"\x05\x02\x00\x02" if proxy.username else b"\x05\x01\x00")
    version, method = _exactly(sock, 2)
    if version != 5 or method not in (0, 2) or (method == 2 and not proxy.username):
        raise ProxyError("the proxy does not speak SOCKS 5, or wants a password")
    if method == 2:
        user, password = proxy.username.encode(), proxy.password.encode()
        sock.sendall(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if _exactly(sock, 2)[1] != 0:
            raise ProxyError("the proxy refused the password")
    sock.sendall(b"\x05\x01\x00" + _socks_address(origin.host) + origin.port.to_bytes(2, "big"))
    version, reply, _, kind = _exactly(sock, 4)
    if version != 5 or reply != 0:
        raise ProxyError(f"the proxy says: {_SOCKS_FAILURES.get(reply, 'failure')}")
    length = {1: 4, 4: 16}.get(kind) or _exactly(sock, 1)[0]
    _exactly(sock, length + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        return bytes([3, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ProxyError("the proxy closed the connection")
        data += part
    return bytes(data)
