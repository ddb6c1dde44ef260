"""From what went wrong on the wire, or what a registry said, to the project's errors.

Messages never hold a URL's query (signed URLs are secrets) nor anything given as a secret. Not here: what is
tried again (`retry`).
"""

import re
import socket
import sys
from collections.abc import Iterable

import msgspec

from isthmus.errors import UnreachableError
from isthmus.registry.http1 import BrokeOff, NotHttp
from isthmus.registry.proxy import ProxyError

MESSAGE_LIMIT = 256
"""Characters of a registry's own words that get into a message."""

_UNPRINTABLE = r"[^\x20-\x7e\xa0-\ufffd]+"  # compiled where it is used: that takes milliseconds
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Problems(msgspec.Struct, frozen=True):
    errors: tuple[_Problem, ...] | None = None
    details: str = ""
    error_description: str = ""


def from_exception(error: Exception, where: str) -> UnreachableError:
    """What an exception of the socket, TLS or HTTP machinery means; the caller chains it as the cause."""
    if (found := _from_tls(error, where)) is not None:
        return found
    if isinstance(error, ProxyError):
        return UnreachableError("unreachable", f"no way to {where}: {error}", temporary=True)
    if isinstance(error, TimeoutError):
        said = clean(str(error)) or "timed out"
        return UnreachableError("unreachable", f"{where} did not answer in time: {said}", temporary=True)
    if isinstance(error, socket.gaierror):
        again = error.errno == socket.EAI_AGAIN
        return UnreachableError("unreachable", f"the name of {where} cannot be resolved", temporary=again)
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError("unreachable", f"{where} refused the connection", temporary=True)
    if isinstance(error, ConnectionError):
        return UnreachableError("unreachable", f"{where} closed the connection", temporary=True)
    if isinstance(error, BrokeOff):
        return UnreachableError("unreachable", f"the answer of {where} broke off", temporary=True)
    if isinstance(error, NotHttp):
        return protocol(f"{where} does not speak HTTP properly ({error})")
    if isinstance(error, OSError):
        said = clean(error.strerror or str(error))
        return UnreachableError("unreachable", f"no connection to {where}: {said}", temporary=True)
    return protocol(f"a request to {where} cannot be made ({type(error).__name__})")


def is_drop(error: BaseException) -> bool:
    """Whether the other side closed the connection, with TLS or without."""
    if isinstance(error, ConnectionError):
        return True
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _from_tls(error: Exception, where: str) -> UnreachableError | None:
    """Where TLS was never spoken its module need not be loaded."""
    ssl = sys.modules.get("ssl")
    if ssl is None:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = clean(error.verify_message or "not trusted")
        return UnreachableError(
            "tls-failed",
            f"the certificate of {where} was not accepted: {reason}",
            hint="give the authority's certificate (ca_file), or choose to go without verification",
        )
    if isinstance(error, ssl.SSLError):
        return UnreachableError(
            "tls-failed",
            f"no TLS connection to {where}: {clean(error.reason or str(error))}",
            hint="if the host speaks plain HTTP only, say so" if "VERSION" in (error.reason or "") else "",
            temporary=isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError),
        )
    return None


def from_answer(
    status: int, body: bytes, host: str, *, retry_after: float | None = None, secrets: Iterable[str] = ()
) -> UnreachableError:
    """What an HTTP status that was not hoped for means, with the registry's own words where it has any."""
    code, message = spoken(body)
    said = redact(": ".join(part for part in (code, message) if part), secrets)[:MESSAGE_LIMIT]
    kind, text, hint = _project_rule(status, message) or _meaning(status)
    return UnreachableError(
        kind,
        f"{host} {text} (HTTP {status}{': ' + said if said else ''})",
        hint=hint,
        temporary=status in _TEMPORARY,
        retry_after=retry_after,
        http_status=status,
    )


def protocol(message: str, where: str = "", *, temporary: bool = False) -> UnreachableError:
    """Something that the protocol does not allow."""
    return UnreachableError("protocol", message, where=where, temporary=temporary)


def spoken(body: bytes) -> tuple[str, str]:
    """The code and message of a registry's JSON error (distribution-spec, "Error Codes"); empty otherwise."""
    try:
        document = msgspec.json.decode(body, type=_Problems)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return "", ""
    first = document.errors[0] if document.errors else _Problem()
    message = first.message or document.details or document.error_description
    return clean(first.code), clean(message)


def clean(text: str) -> str:
    """Words of others, fit for one line of a message."""
    return re.sub(_UNPRINTABLE, " ", text).strip()[:MESSAGE_LIMIT]


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without secrets, which a hostile or careless host might repeat."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, "***")
            # A cut in the middle of a secret would leave its beginning.
            text = _without_beginning(text, secret)
    return text


def _without_beginning(text: str, secret: str) -> str:
    for length in range(min(len(secret), len(text)), 3, -1):
        if text.endswith(secret[:length]):
            return text[:-length] + "***"
    return text


def _project_rule(status: int, message: str) -> tuple[str, str, str] | None:
    """What Harbor's rules of a project say in words: the statuses alone would name the credentials."""
    if "exceed the configured upper limit" in message:
        return "quota-exceeded", "has no room left for this project", "raise the project's quota, or prune it"
    if status == 412 and "immutable" in message:
        return (
            "immutable-tag",
            "protects this tag",
            "a rule of the project forbids to change the tag: change the rule, or give the image a new tag",
        )
    if status == 403 and "read only mode" in message:
        return "refused", "is in read-only mode", "an administrator turns it off, after garbage collection"
    return None


def _meaning(status: int) -> tuple[str, str, str]:
    if status == 401:
        hint = "log in (docker login, podman login), or name the credentials in isthmus.yaml (auth)"
        return "unauthorized", "refused the credentials or asks for some", hint
    if status == 403:
        return "unauthorized", "does not allow this", "the account may lack the permission, or a quota is full"
    if status == 404:
        return "not-found", "does not have this", ""
    if status == 429:
        return "rate-limited", "asks to slow down", "log in for a higher limit, or try later"
    if status == 413:
        return "refused", "says that this is too large", "a proxy before the registry may limit the body size"
    if status in _TEMPORARY:
        return "unreachable", "is in trouble", ""
    return "refused", "refused the request", ""
