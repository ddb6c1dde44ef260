"""Public keys as cosign knows them: ECDSA, Ed25519 and RSA in PEM files.

Not here: Isthmus' own keys for bundles, which are Ed25519 alone (`bundle.keys`).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from isthmus.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_KEYS: Final = 64
_LEAST_RSA: Final = 2048
_BLOCK: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One public key. `key_id` is the SHA-256 of its SubjectPublicKeyInfo in hexadecimal, as openssl shows it."""

    kind: str
    key_id: str
    _key: Any

    def __str__(self) -> str:
        return f"{self.kind} {self.key_id[:16]}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made this signature over these bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            if self.kind == "Ed25519":
                self._key.verify(signature, message)
                return True
            return (
                _rsa(self._key, signature, message)
                if self.kind == "RSA"
                else _ecdsa(self._key, signature, message)
            )
        except (InvalidSignature, ValueError):
            return False


def parse_keys(pem: bytes, where: str) -> tuple[VerifyingKey, ...]:
    """Every public key in a PEM file; several stand for one another, as while a key is being replaced.

    Raises UsageError (`invalid-key`): none, too many, of another kind, or RSA below 2048 bits.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    blocks = _BLOCK.findall(pem)
    if not 1 <= len(blocks) <= MAX_KEYS:
        raise _invalid(where, "it holds no public key in PEM form" if not blocks else "it holds too many keys")
    try:
        return tuple(_known(load_pem_public_key(block), where) for block in blocks)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _invalid(where, "a key in it cannot be read") from error


def _known(key: Any, where: str) -> VerifyingKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, Ed25519PublicKey):
        kind = "Ed25519"
    elif isinstance(key, EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
        kind = f"ECDSA P-{key.curve.key_size}"
    elif isinstance(key, RSAPublicKey) and key.key_size >= _LEAST_RSA:
        kind = "RSA"
    else:
        raise _invalid(where, "only ECDSA (P-256, P-384, P-521), Ed25519, and RSA of 2048 bits or more are taken")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerifyingKey(kind, hashlib.sha256(der).hexdigest(), key)


def _ecdsa(key: "EllipticCurvePublicKey", signature: bytes, message: bytes) -> bool:
    """SHA-256, as cosign signs with any curve by default; for larger curves also the hash of their size."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

    algorithms: list[HashAlgorithm] = [SHA256()]
    if key.curve.key_size > 256:
        algorithms.append(SHA384() if key.curve.key_size == 384 else SHA512())
    for algorithm in algorithms:
        try:
            key.verify(signature, message, ECDSA(algorithm))
        except InvalidSignature:
            continue
        return True
    return False


def _rsa(key: "RSAPublicKey", signature: bytes, message: bytes) -> bool:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    key.verify(signature, message, PKCS1v15(), SHA256())
    return True


def _invalid(where: str, why: str) -> UsageError:
    return UsageError(
        "invalid-key", f"not a public key of cosign's: {why}", where=where, hint="cosign public-key, or cosign.pub"
    )
