"""How long certificates live: those that servers really show, and those of files. Reads only.

Whether a certificate is trusted is not asked here (`environment`): an expired one is looked at as well.
"""

import datetime as dt
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from isthmus.check.result import Finding

TIMEOUT = 5.0
"""Seconds for connecting and for the handshake."""


class Server(msgspec.Struct, frozen=True):
    """Who shows a certificate: what it is for people, its name, port, and its address where the site knows it."""

    what: str
    host: str
    port: int
    address: str = ""


class CertificateLife(msgspec.Struct, frozen=True, omit_defaults=True):
    """One certificate: `until` is RFC 3339; `days` are those that are left, negative after its end."""

    what: str
    where: str
    until: str = ""
    days: float = 0.0
    names: tuple[str, ...] = ()
    problem: str = ""

    def finding(self, within_days: float) -> Finding | None:
        """What is wrong with it, where its life ends within so many days, or it could not be looked at."""
        if self.problem:
            return Finding(f"{self.what} {self.where}", f"its certificate cannot be seen: {self.problem}")
        if self.days >= within_days:
            return None
        when = (
            f"ended on {self.until[:10]}" if self.days < 0 else f"ends on {self.until[:10]}, in {self.days:.0f} d"
        )
        return Finding(f"{self.what} {self.where}", f"its certificate {when}")


def presented(servers: Iterable[Server], now: dt.datetime) -> tuple[CertificateLife, ...]:
    """What each server shows, all asked at once; a server that does not answer has a `problem`."""
    wanted = list(servers)
    if not wanted:
        return ()
    with ThreadPoolExecutor(min(16, len(wanted)), thread_name_prefix="isthmus-check") as pool:
        return tuple(pool.map(lambda server: _ask(server, now), wanted))


def life(what: str, where: str, until: dt.datetime, names: Iterable[str], now: dt.datetime) -> CertificateLife:
    """A certificate whose end is known."""
    days = (until - now).total_seconds() / 86400
    return CertificateLife(what, where, until.strftime("%Y-%m-%dT%H:%M:%SZ"), round(days, 1), tuple(names))


def _ask(server: Server, now: dt.datetime) -> CertificateLife:
    where = f"{server.host}:{server.port}"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what ends is to be seen, too; nothing but the handshake is sent
    try:
        with (
            socket.create_connection((server.address or server.host, server.port), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=server.host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        return CertificateLife(server.what, where, problem=str(error)[:200] or type(error).__name__)
    return _read(server.what, where, shown or b"", now)


def _read(what: str, where: str, data: bytes, now: dt.datetime) -> CertificateLife:
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(data)
        try:
            held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = [*held.get_values_for_type(x509.DNSName)]
            names += [str(each) for each in held.get_values_for_type(x509.IPAddress)]
        except x509.ExtensionNotFound:
            names = []
    except ValueError as error:
        return CertificateLife(what, where, problem=f"it is not understood: {str(error)[:100]}")
    return life(what, where, certificate.not_valid_after_utc, names, now)
