"""Keys and certificates as files: private ones for their owner alone, nothing overwritten by accident.

Not here: what is in them (`profile`) and where they are (`authority`).
"""

import os
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from isthmus.errors import UnreachableError, UsageError
from isthmus.site.pki.profile import PrivateKey

_MAX_FILE = 1 << 20


def write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file at once or not at all; raises UnreachableError `io-failed`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o600 if private else 0o644)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(path)) from error


def read(path: Path) -> bytes:
    """Read a small file; raises UsageError `file-not-found`, UnreachableError `io-failed`."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE)
    except FileNotFoundError as error:
        raise UsageError(
            "file-not-found", "there is no such file", where=str(path), hint="begin with `isthmus pki init`"
        ) from error
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error


def key_text(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """PKCS #8 in PEM (RFC 5958, RFC 7468), encrypted where there is a passphrase."""
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def load_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """A private key; raises UsageError `invalid-key`, also where a passphrase is wrong or lacking."""
    content = read(path)
    try:
        key = serialization.load_pem_private_key(content, passphrase if b"ENCRYPTED" in content else None)
    except TypeError as error:
        raise UsageError(
            "invalid-key", "the key is encrypted", where=str(path), hint="give --passphrase env:NAME or file:PATH"
        ) from error
    except ValueError as error:
        raise UsageError(
            "invalid-key", "it holds no private key that the passphrase opens", where=str(path)
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise UsageError("invalid-key", "it holds a key of a kind that cannot sign", where=str(path))
    return key


def certificate_text(*certificates: x509.Certificate) -> bytes:
    """Certificates in PEM, one after another."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def load_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a file, at least one; raises UsageError `invalid-key`."""
    try:
        return x509.load_pem_x509_certificates(read(path))
    except ValueError as error:
        raise UsageError("invalid-key", "it holds no certificate in PEM", where=str(path)) from error
