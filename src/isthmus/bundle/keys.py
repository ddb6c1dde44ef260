"""Ed25519 keys in PEM files: making, loading, signing, verifying.

A key's id is the SHA-256 of its 32 raw public bytes; people see its first 16 hexadecimal digits. Not here:
what is signed (`layout`, `receipt`) and which keys a site trusts.
"""

import binascii
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.bundle.layout import Signature
from isthmus.bundle.medium import failed
from isthmus.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_KEY_FILE = 64 * 1024
# PKCS#8 and SubjectPublicKeyInfo around 32 bytes (RFC 8410, section 10). Our own files are read by these: loading
# what reads any form of key takes longer than signing.
_PRIVATE_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
_PUBLIC_PREFIX = bytes.fromhex("302a300506032b6570032100")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half that verifies."""

    raw: bytes

    @property
    def key_id(self) -> bytes:
        """32 bytes that name the key."""
        return hashlib.sha256(self.raw).digest()

    def __str__(self) -> str:
        return short_id(self.key_id)

    def verifies(self, signature: Signature, message: bytes) -> bool:
        """Whether this key made this signature over these bytes."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if signature.key_id != self.key_id:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature.value, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The half that signs; never printed."""

    _key: "Ed25519PrivateKey"
    public: PublicKey

    def __repr__(self) -> str:
        return f"SigningKey({self.public})"

    def sign(self, message: bytes) -> Signature:
        """A signature; the same for the same bytes, always (RFC 8032)."""
        return Signature(self.public.key_id, self._key.sign(message))


@dataclass(frozen=True, slots=True)
class KeyPaths:
    """Where a new pair of keys is, and its displayed id."""

    private: Path
    public: Path
    key_id: str


def short_id(key_id: bytes) -> str:
    """A key id as people see it."""
    return key_id.hex()[:16]


def generate_keys(directory: str | os.PathLike[str], name: str = "isthmus") -> KeyPaths:
    """Make `NAME.key` (PKCS#8 PEM, only its owner may read it) and `NAME.pub` (PEM) in `directory`.

    Raises UsageError: `file-exists` where either is there already; UnreachableError `io-failed`.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not _NAME.fullmatch(name):
        raise UsageError("wrong-usage", f"{name[:100]!r} cannot name a key file")
    key = Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private, public = _write_pair(Path(directory), f"{name}.key", private_pem, f"{name}.pub", public_pem)
    return KeyPaths(private, public, str(PublicKey(key.public_key().public_bytes_raw())))


def generate_identity(directory: str | os.PathLike[str], name: str = "isthmus") -> KeyPaths:
    """Make an age identity, `NAME.age` (only its owner may read it), and its recipient, `NAME.age.pub`.

    The recipient stands for the id. Raises as `generate_keys`, and `wrong-usage` without the extra `age`.
    """
    from isthmus.bundle.encryption import new_identity

    if not _NAME.fullmatch(name):
        raise UsageError("wrong-usage", f"{name[:100]!r} cannot name a key file")
    identity, recipient = new_identity()
    secret = f"# public key: {recipient}\n{identity}\n".encode()
    private, public = _write_pair(
        Path(directory), f"{name}.age", secret, f"{name}.age.pub", f"{recipient}\n".encode()
    )
    return KeyPaths(private, public, recipient)


def load_private_key(path: str | os.PathLike[str]) -> SigningKey:
    """The signing key in an unencrypted PEM file.

    Raises UsageError: `file-not-found`, or `invalid-key` for anything but an Ed25519 private key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(path)
    try:
        if seed := _plain(data, "PRIVATE KEY", _PRIVATE_PREFIX):
            key: object = Ed25519PrivateKey.from_private_bytes(seed)
        else:
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _invalid(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _invalid(path, "private")
    return SigningKey(key, PublicKey(key.public_key().public_bytes_raw()))


def load_public_key(path: str | os.PathLike[str]) -> PublicKey:
    """The verifying key in a PEM file.

    Raises UsageError: `file-not-found`, or `invalid-key` for anything but an Ed25519 public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = _read(path)
    try:
        if raw := _plain(data, "PUBLIC KEY", _PUBLIC_PREFIX):
            key: object = Ed25519PublicKey.from_public_bytes(raw)
        else:
            from cryptography.hazmat.primitives.serialization import load_pem_public_key

            key = load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _invalid(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _invalid(path, "public")
    return PublicKey(key.public_bytes_raw())


def verified_by(signatures: Iterable[Signature], message: bytes, keys: Iterable[PublicKey]) -> PublicKey | None:
    """The first of `keys` that made one of `signatures` over `message`, or None."""
    found = tuple(signatures)
    for key in keys:
        if any(key.verifies(signature, message) for signature in found):
            return key
    return None


def _plain(data: bytes, label: str, prefix: bytes) -> bytes:
    """The 32 bytes of a key in a file that is exactly as `generate_keys` writes it; empty for any other."""
    found = re.fullmatch(
        rf"-----BEGIN {label}-----\n([A-Za-z0-9+/]{{1,200}}={{0,2}})\n-----END {label}-----\n".encode(), data
    )
    try:
        encoded = binascii.a2b_base64(found[1], strict_mode=True) if found else b""
    except binascii.Error:
        return b""
    return encoded[len(prefix) :] if len(encoded) == len(prefix) + 32 and encoded.startswith(prefix) else b""


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_KEY_FILE + 1)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such key file", where=os.fspath(path)) from error
    except OSError as error:
        raise failed(error, path) from error
    if len(data) > _MAX_KEY_FILE:
        raise _invalid(path, "usable")
    return data


def _write_pair(
    place: Path, private_name: str, secret: bytes, public_name: str, public: bytes
) -> tuple[Path, Path]:
    """Both halves, neither written where one of the files is there already."""
    paths = place / private_name, place / public_name
    for path in paths:
        if path.exists():
            raise _exists(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failed(error, place) from error
    _write_new(paths[0], secret, 0o600)
    _write_new(paths[1], public, 0o644)
    return paths


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise failed(error, path) from error


def _exists(path: Path) -> UsageError:
    return UsageError("file-exists", "a key is there already, and is not overwritten", where=str(path))


def _invalid(path: str | os.PathLike[str], half: str) -> UsageError:
    return UsageError(
        "invalid-key",
        f"not a {half} Ed25519 key in PEM form",
        where=os.fspath(path),
        hint="`isthmus keys new --out DIR` makes a pair: NAME.key signs, NAME.pub verifies",
    )
