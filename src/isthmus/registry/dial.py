"""Opening a connection: TCP, a proxy's consent, TLS. Not here: what is said on it (`transport`)."""

import functools
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import UsageError
from isthmus.registry.endpoint import Origin
from isthmus.registry.options import ConnectionOptions
from isthmus.registry.proxy import Proxy, find_proxy, lead_on

if TYPE_CHECKING:
    import ssl

_PROBE_TIMEOUT = 5.0


def dial(origin: Origin, options: ConnectionOptions, *, own_host: bool) -> socket.socket:
    """A connected socket, encrypted for https; its timeout is the one for reading.

    `own_host` says that this is the registry itself: only there the client's certificate is shown, and only
    there verification may be off. Raises OSError (ssl.SSLError among them), and UsageError for unusable files.
    """
    proxy = find_proxy(origin, options.proxy)
    sock = _tcp(proxy or origin, options.connect_timeout)
    try:
        if proxy is not None:
            lead_on(sock, proxy, origin)
        if origin.scheme == "https":
            context = _context(options, own_host)
            sock = context.wrap_socket(sock, server_hostname=origin.host)
        sock.settimeout(options.read_timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def answers_tls(origin: Origin, options: ConnectionOptions) -> bool:
    """Whether the other side speaks TLS at all, trusted or not. Raises OSError where nothing listens."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only a question; nothing is sent or believed
    with _tcp(origin, options.connect_timeout) as sock:
        sock.settimeout(min(_PROBE_TIMEOUT, options.connect_timeout))
        try:
            context.wrap_socket(sock, server_hostname=origin.host).close()
        except ssl.SSLError as error:
            # An alert is TLS too: the other side may want a client certificate or another version.
            return "ALERT" in (error.reason or "")
        except OSError:
            return False
    return True


def _tcp(peer: Origin | Proxy, timeout: float) -> socket.socket:
    # A str would have the codec for international names loaded, which takes as long as a small transfer.
    host: Any = peer.host.encode("ascii") if peer.host.isascii() else peer.host
    try:
        sock = socket.create_connection((host, peer.port), timeout=timeout)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _context(options: ConnectionOptions, own_host: bool) -> "ssl.SSLContext":
    if own_host:
        certificate, key = _text(options.client_certificate), _text(options.client_key)
        return _cached_context(_text(options.ca_file), certificate, key, options.insecure)
    return _cached_context(_text(options.ca_file), "", "", False)


def _text(path: Path | str | None) -> str:
    return str(path) if path else ""


@functools.lru_cache(maxsize=32)
def _cached_context(ca_file: str, certificate: str, key: str, insecure: bool) -> "ssl.SSLContext":
    """Loading the system's authorities takes tens of milliseconds, so a context is kept."""
    import ssl

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        if certificate:
            context.load_cert_chain(certificate, key or None, password=_no_password)
    except (OSError, ValueError) as error:
        raise UsageError(
            "invalid-config",
            f"cannot use {ca_file or certificate} for TLS: it is not there or not in PEM form",
            hint="give PEM files; the key must not be encrypted",
        ) from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # instead of asking on the terminal
