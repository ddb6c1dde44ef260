"""Reading by URL: the registry room's transport (TLS, proxies, pace, retries, redirects) for any address.

A host may be stood for by another (`platform.upstreams`) and have mirrors; both are prefixes of URLs. Not here:
what is done with the bytes (`fetch`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from isthmus.errors import UnreachableError, UsageError
from isthmus.registry import ConnectionOptions, Credential
from isthmus.registry.endpoint import find_place
from isthmus.registry.exchange import Response
from isthmus.registry.session import Request, Session

HostOptions = Callable[[str], ConnectionOptions]
"""How a host, as `host[:port]`, is reached."""

_ABSENT = frozenset({403, 404, 410})
_KEEP = "%/:=&?~+!$,;'@()*[]-._"


@dataclass(frozen=True)
class Told:
    """What a host says of a file: size in bytes where it tells, what names this version, and its date."""

    size: int | None
    validator: str
    """A strong ETag, or the Last-Modified; empty where there is neither. For If-Range (RFC 9110, 13.1.5)."""
    modified: str
    """RFC 3339, UTC; empty where it is not told."""


class Web:
    """Connections to any number of hosts, made when first asked for; safe for threads. Use it as a context."""

    def __init__(
        self,
        options: ConnectionOptions | HostOptions,
        substitutes: Mapping[str, str] | None = None,
        mirrors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._options: HostOptions = options if callable(options) else lambda _: options
        self._substitutes = dict(substitutes or {})
        self._mirrors = {host: tuple(urls) for host, urls in (mirrors or {}).items()}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def places(self, url: str) -> tuple[str, ...]:
        """The addresses that have what `url` has, in the order in which they are asked.

        Raises UsageError (`invalid-config`) for what is no address, or holds a user or password.
        """
        host, rest = _split(url)
        first = self._substitutes.get(host)
        others = (f"{mirror.rstrip('/')}{rest}" for mirror in self._mirrors.get(host, ()))
        return (f"{first.rstrip('/')}{rest}" if first else url, *others)

    def options(self, place: str) -> ConnectionOptions:
        """How an address of `places` is reached."""
        return self._session(place)[0].options

    def open(
        self, place: str, *, offset: int = 0, validator: str = "", is_pinned: bool = False, method: str = "GET"
    ) -> Response:
        """The answer from `offset` on: status 206, or 200 with everything where the host will not do ranges.

        `is_pinned` says that the bytes are verified by a digest, so that redirects may leave TLS.
        """
        session, target = self._session(place)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and validator:
            headers["If-Range"] = validator
        request = Request(
            method=method,
            target=target,
            where=place.partition("?")[0],
            accept=frozenset({200, 206}) if offset else frozenset({200}),
            headers=headers,
            may_leave_tls=is_pinned,
        )
        return session.call(request)

    def tell(self, place: str, *, is_pinned: bool = False) -> Told:
        """What the host says without the bytes; asked by GET where HEAD is refused."""
        try:
            with self.open(place, method="HEAD", is_pinned=is_pinned) as response:
                return told_by(response)
        except UnreachableError as error:
            if error.http_status not in (403, 405, 501):
                raise
        with self.open(place, is_pinned=is_pinned) as response:
            return told_by(response)

    def read(self, url: str, limit: int) -> bytes:
        """A small file, from the first of its places that has it. Raises UnreachableError, also over the limit."""
        failure: UnreachableError | None = None
        for place in self.places(url):
            session, target = self._session(place)
            try:
                return session.read(Request(method="GET", target=target, where=place.partition("?")[0]), limit)[1]
            except UnreachableError as error:
                failure = failure or error
        raise failure or AssertionError(url)

    def read_if_there(self, url: str, limit: int) -> bytes | None:
        """As `read`; None where the hosts say that there is no such file."""
        try:
            return self.read(url, limit)
        except UnreachableError as error:
            if error.http_status in _ABSENT:
                return None
            raise

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()

    def _session(self, place: str) -> tuple[Session, str]:
        _, rest = _split(place)
        parts = urlsplit(place)
        root = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            session = self._sessions.get(root)
            if session is None:
                options = self._options(parts.netloc)
                options = replace(options, credentials=options.credentials or _Nobody())
                session = self._sessions[root] = Session(find_place(parts.netloc, upstream=root), options)
        return session, rest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Nobody:
    """Docker's credentials are for registries: a file server is shown none unless isthmus.yaml names some."""

    def find(self, host: str, repository: str) -> Credential | None:  # noqa: ARG002
        return None


def told_by(response: Response) -> Told:
    """What an answer's headers say."""
    length = response.header("Content-Length")
    etag, modified = response.header("ETag"), response.header("Last-Modified")
    is_strong = etag.startswith('"') and etag.endswith('"') and len(etag) > 2
    return Told(
        size=int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None,
        validator=etag if is_strong else modified,
        modified=_rfc3339(modified),
    )


def _rfc3339(header: str) -> str:
    try:
        moment = parsedate_to_datetime(header)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.tzinfo else ""
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _split(url: str) -> tuple[str, str]:
    """Host and request target of an address."""
    try:
        parts = urlsplit(url)
        host, is_plain = parts.netloc.lower(), parts.port is None or parts.port > 0
    except ValueError:
        host, is_plain = "", False
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not is_plain or len(url) > 4096:
        raise UsageError("invalid-config", f"not an address: {url[:200]!r}", hint="write https://host/path")
    if "@" in host:
        raise UsageError(
            "invalid-config",
            "an address holds a user or a password",
            where=f"{parts.scheme}://***@{host.rpartition('@')[2]}{parts.path[:100]}",
            hint="name the secret under platform.registries in isthmus.yaml, as auth of that host",
        )
    query = f"?{quote(parts.query, safe=_KEEP)}" if parts.query else ""
    return host, quote(parts.path or "/", safe=_KEEP) + query
