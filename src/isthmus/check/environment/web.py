"""Small HTTP questions with a bounded answer, to a host whose address the site may know better than its DNS.

Not here: what is asked. The registry room's client is for registries; this one shows every status as it is.
"""

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from isthmus.check.environment.probe import TIMEOUT

MAX_BODY: Final = 1 << 20


class Reply(msgspec.Struct, frozen=True):
    """The status, headers in lower case, and at most a mebibyte of the body."""

    status: int
    headers: dict[str, str]
    body: bytes


def context_for(ca: str = "") -> ssl.SSLContext:
    """What the operating system trusts, and the site's CA (PEM) where it is given."""
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(cadata=ca)
    return context


def ask(
    method: str,
    url: str,
    context: ssl.SSLContext,
    *,
    address: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Reply:
    """One request, no redirect followed. Raises OSError, or ValueError for what is no HTTP."""
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    sock: socket.socket = socket.create_connection((address or host, port), timeout)
    try:
        if is_tls:
            sock = context.wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.sock = sock
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc.rpartition("@")[2], "Connection": "close", "User-Agent": "isthmus-check"}
        connection.request(method, target, headers={**sent, **(headers or {})})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read(MAX_BODY))
    except http.client.HTTPException as error:
        raise ValueError(f"it does not speak HTTP: {str(error)[:100] or type(error).__name__}") from error
    finally:
        sock.close()
