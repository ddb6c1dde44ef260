"""What certificates of the site look like: subjects, lives, extensions, constraints. Only building, no files.

RFC 5280 sections 4.2.1.3 (key usage), 4.2.1.9 (basic constraints), 4.2.1.10 (name constraints), 4.2.1.12
(extended key usage); leaves follow what browsers ask for: names in the subject alternative name only.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from isthmus.errors import UsageError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

# Clocks inside are not always right at the time when the first certificates are used.
_BACKDATED = dt.timedelta(hours=1)
_ALL_ADDRESSES = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


@dataclass(frozen=True)
class Constraints:
    """The names that an authority may certify; nothing in both means anything.

    `domains` are domain names with all below them, `networks` are addresses or networks.
    """

    domains: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "Constraints":
        """Those that a certificate has."""
        try:
            extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        except x509.ExtensionNotFound:
            return cls()
        permitted = extension.value.permitted_subtrees or []
        return cls(
            tuple(name.value for name in permitted if isinstance(name, x509.DNSName)),
            tuple(str(name.value) for name in permitted if isinstance(name, x509.IPAddress)),
        )

    def allows(self, name: str) -> bool:
        """Whether a DNS name or an address is within them."""
        if not self.domains and not self.networks:
            return True
        address = _address(name)
        if address is not None:
            return any(address in ipaddress.ip_network(network, strict=False) for network in self.networks)
        bare = name.removeprefix("*.").lower().rstrip(".")
        return any(bare == domain or bare.endswith(f".{domain}") for domain in map(_domain, self.domains))

    def extension(self) -> x509.NameConstraints | None:
        """The extension, or None where there are no constraints.

        Addresses are not constrained by a list of domains, so that without networks all are excluded.
        """
        if not self.domains and not self.networks:
            return None
        permitted: list[x509.GeneralName] = [x509.DNSName(domain) for domain in map(_domain, self.domains)]
        permitted += [x509.IPAddress(ipaddress.ip_network(network, strict=False)) for network in self.networks]
        missing = [
            every
            for every in _ALL_ADDRESSES
            if all(
                ipaddress.ip_network(network, strict=False).version != every.version for network in self.networks
            )
        ]
        return x509.NameConstraints(permitted or None, [x509.IPAddress(network) for network in missing] or None)


def new_key(kind: str) -> PrivateKey:
    """A fresh key: ecdsa-p256, ecdsa-p384, rsa-3072, rsa-4096 or ed25519."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    curves = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1()}
    if kind not in curves:
        raise UsageError(
            "invalid-config", f"no kind of key is called {kind!r}", hint="site.pki.key in isthmus.yaml"
        )
    return ec.generate_private_key(curves[kind])


def authority(
    name: str,
    key: PrivateKey,
    life: float,
    constraints: Constraints,
    signer: tuple[x509.Certificate, PrivateKey] | None = None,
    *,
    now: dt.datetime | None = None,
) -> x509.Certificate:
    """A CA of `life` seconds: a root, or one below the root that signs it, which can sign no further ones."""
    builder = _builder(name, key, life, signer[0].subject if signer else None, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if signer else 1), critical=True)
    builder = builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
    extension = constraints.extension()
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return _signed(builder, key, signer)


def leaf(
    names: Iterable[str],
    key: PrivateKey,
    life: float,
    signer: tuple[x509.Certificate, PrivateKey],
    *,
    client: bool = False,
    now: dt.datetime | None = None,
) -> x509.Certificate:
    """A certificate of a server (and, with `client`, of a client) for DNS names and addresses.

    It never outlives its signer. Raises UsageError `wrong-usage` for a name that cannot be in a certificate.
    """
    names = tuple(dict.fromkeys(names))
    if not names:
        raise UsageError("wrong-usage", "a certificate needs at least one name")
    common_name = next((name for name in names if _address(name) is None), names[0])
    builder = _builder(
        common_name[:64], key, life, signer[0].subject, now, not_after=signer[0].not_valid_after_utc
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    wraps_keys = isinstance(key, rsa.RSAPrivateKey)
    usage = _key_usage(digital_signature=True, key_encipherment=wraps_keys)
    builder = builder.add_extension(usage, critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return _signed(builder.add_extension(alternative, critical=False), key, signer)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names in the subject alternative name, as `leaf` takes them."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in extension.value if isinstance(name, x509.DNSName | x509.IPAddress))


def is_signed_by(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    """Whether this very authority, and not another one of the same name, has signed it."""
    try:
        certificate.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether it may be shown by a client."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in extension.value


def _builder(
    name: str,
    key: PrivateKey,
    life: float,
    issuer: x509.Name | None,
    now: dt.datetime | None,
    not_after: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    start = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    end = start + dt.timedelta(seconds=life)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _BACKDATED)
        .not_valid_after(min(end, not_after) if not_after else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: PrivateKey, signer: tuple[x509.Certificate, PrivateKey] | None
) -> x509.Certificate:
    with_key = signer[1] if signer else key
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(with_key.public_key())
    algorithm = None if isinstance(with_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.add_extension(issuer, critical=False).sign(with_key, algorithm)


def _key_usage(**wanted: bool) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    flags: dict[str, Any] = {name: wanted.get(name, False) for name in every}
    return x509.KeyUsage(**flags)


def _general_name(name: str) -> x509.GeneralName:
    address = _address(name)
    if address is not None:
        return x509.IPAddress(address)
    try:
        return x509.DNSName(name.encode("idna" if not name.isascii() else "ascii").decode())
    except (UnicodeError, ValueError) as error:
        raise UsageError("wrong-usage", f"not a name for a certificate: {name[:100]!r}") from error


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _domain(text: str) -> str:
    return text.lower().strip(".")
