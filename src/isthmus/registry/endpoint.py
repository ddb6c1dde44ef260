"""Where a registry is reached: origin, path prefix, and the decision between HTTPS and plain HTTP.

Not here: connections (`dial`, `transport`), credentials.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

from isthmus.errors import UsageError

Scheme = Literal["http", "https"]

_DOCKER_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9._/-]*", re.ASCII)
_KEEP = "%/:=&?~+!$,;'@()*[]-._"


@dataclass(frozen=True)
class Origin:
    """A scheme, a host (without brackets) and a port: what a connection, and a secret, belong to."""

    scheme: Scheme
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host[:port]` as in a URL; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default_port(self.scheme) else f"{host}:{self.port}"


@dataclass(frozen=True)
class Place:
    """A registry before its scheme is decided: `scheme` is None for a loopback host, which is probed."""

    name: str
    """What people and credential files call it."""
    scheme: Scheme | None
    host: str
    port: int | None
    prefix: str
    """Path that is put before every repository name; without slashes at its ends."""

    def origin(self, scheme: Scheme) -> Origin:
        """The origin for a scheme."""
        return Origin(scheme, self.host, self.port or default_port(scheme))

    def full_name(self, repository: str) -> str:
        """The repository as this host names it."""
        return f"{self.prefix}/{repository}" if self.prefix else repository


def default_port(scheme: Scheme) -> int:
    """443 or 80."""
    return 443 if scheme == "https" else 80


def is_loopback(host: str) -> bool:
    """Whether a host (without port) is this machine: localhost, 127.0.0.0/8, ::1."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_place(host: str, *, plain_http: bool = False, upstream: str | None = None) -> Place:
    """Where `host[:port][/prefix]` is reached; `upstream` is a URL that stands for that host instead.

    Raises UsageError (`wrong-usage`) for what is no host or no URL.
    """
    if upstream is not None:
        return _of_url(upstream)
    if "://" in host:
        return _of_url(host)
    authority, _, prefix = host.partition("/")
    reached = _DOCKER_HUB.get(authority.lower(), authority)
    name, port = _split(reached, host)
    scheme: Scheme | None = "http" if plain_http else None if is_loopback(name) else "https"
    called = "docker.io" if authority.lower() in _DOCKER_HUB else authority
    return Place(called, scheme, name, port, _checked_prefix(prefix, host))


def _of_url(url: str) -> Place:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(url) from error
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise _wrong(url)
    host, port = _split(parts.netloc, url)
    scheme: Scheme = "https" if parts.scheme == "https" else "http"
    return Place(parts.netloc, scheme, host, port, _checked_prefix(parts.path, url))


def _split(authority: str, text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::([0-9]{1,5}))?", authority)
    if match is None:
        raise _wrong(text)
    host = (match[1] or match[2] or "").lower()
    port = int(match[3]) if match[3] else None
    if not _HOST.fullmatch(host) or (port is not None and not 0 < port < 65536):
        raise _wrong(text)
    return host, port


def _checked_prefix(path: str, text: str) -> str:
    prefix = path.strip("/")
    if not _PREFIX.fullmatch(prefix):
        raise _wrong(text)
    return prefix


def _wrong(text: str) -> UsageError:
    _, at, rest = text.rpartition("@")
    shown = f"***@{rest[:200]}" if at else text[:200]  # a password may be there, also without a scheme
    return UsageError(
        "wrong-usage",
        f"not a registry: {shown!r}",
        hint="write host[:port][/prefix] or http(s)://host[:port]/prefix",
    )


def follow(origin: Origin, target: str, location: str) -> tuple[Origin, str] | None:
    """The origin and request target that a Location or Link leads to from a request; None for what is no URL."""
    base = f"{origin.scheme}://{origin.authority}{target}"
    try:
        parts = urlsplit(urljoin(base, location.strip()))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or parts.username is not None:
        return None
    scheme: Scheme = "https" if parts.scheme == "https" else "http"
    path = quote(parts.path or "/", safe=_KEEP)
    query = f"?{quote(parts.query, safe=_KEEP)}" if parts.query else ""
    return Origin(scheme, host, port or default_port(scheme)), path + query
