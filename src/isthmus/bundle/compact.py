"""A receipt small enough for paper: the beginnings of the digests that a site holds, under one signature.

Whoever packs finds the whole digests in their own store. As many bytes of each are kept as make it less likely
than one in a thousand million that any blob of a store of a million is taken for one that the site has; should it
happen, the site refuses the bundle, since it hashes what is left out. Not here: text and QR codes (`carry.paper`).
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from isthmus.bundle.keys import PublicKey, SigningKey, verified_by
from isthmus.bundle.layout import Signature
from isthmus.bundle.manifest import Blob
from isthmus.errors import UsageError, VerificationError
from isthmus.oci.digest import Digest

MAGIC: Final = b"IR1"
_HEADER: Final = Struct(">3sBBI32s")
_DOMAIN: Final = b"isthmus paper receipt 1\n"
_SIGNATURE_SIZE: Final = 32 + 64
_STORE: Final = 10**6
_CHANCE_BITS: Final = 30
_MOST: Final = 10**6
LARGEST: Final = _HEADER.size + 32 * _MOST


@dataclass(frozen=True, slots=True)
class Compact:
    """What the paper says: how many bytes of each digest, these bytes, the SHA-256 of the whole list."""

    prefix_size: int
    prefixes: frozenset[bytes]
    whole: bytes
    signature: Signature | None
    signed: bytes

    @property
    def chance(self) -> float:
        """How likely a store of a million blobs has one that is taken for one of these, at most."""
        return len(self.prefixes) * _STORE / 2.0 ** (8 * self.prefix_size)

    def holds(self, digest: Digest) -> bool:
        """Whether a digest begins as one that the site has."""
        return _beginning(digest, self.prefix_size) in self.prefixes

    def resolve(self, blobs: Iterable[Blob]) -> tuple[Blob, ...]:
        """Those of these blobs that the site has, sorted."""
        return tuple(sorted(blob for blob in blobs if self.holds(blob.digest)))


def make_compact(digests: Iterable[Digest], key: SigningKey | None = None) -> bytes:
    """The bytes for paper, the same for the same digests and key."""
    known = sorted(set(digests))
    bits = math.log2(max(1, len(known))) + math.log2(_STORE) + _CHANCE_BITS
    size = math.ceil(bits / 8)
    prefixes = sorted({_beginning(digest, size) for digest in known})
    whole = hashlib.sha256("".join(f"{digest}\n" for digest in known).encode()).digest()
    body = _HEADER.pack(MAGIC, size, int(key is not None), len(prefixes), whole) + b"".join(prefixes)
    if key is None:
        return body
    signature = key.sign(_DOMAIN + body)
    return body + signature.key_id + signature.value


def read_compact(data: bytes) -> Compact:
    """Read what `make_compact` made; zeros behind it mean nothing. Raises UsageError `invalid-input`."""
    if len(data) < _HEADER.size:
        raise _wrong("it is too short")
    magic, size, signed, count, whole = _HEADER.unpack_from(data)
    end = _HEADER.size + size * count
    length = end + _SIGNATURE_SIZE * signed
    if magic != MAGIC or signed > 1 or not 4 <= size <= 32 or count > _MOST:
        raise _wrong("it is of another format or version")
    if len(data) < length or any(data[length:]):
        raise _wrong("it is longer or shorter than it says")
    prefixes = [data[start : start + size] for start in range(_HEADER.size, end, size)]
    if prefixes != sorted(set(prefixes)):
        raise _wrong("its digests are not sorted")
    signature = Signature(data[end : end + 32], data[end + 32 : length]) if signed else None
    return Compact(size, frozenset(prefixes), whole, signature, _DOMAIN + data[:end])


def check_compact(compact: Compact, keys: Sequence[PublicKey], where: str) -> None:
    """See that one of the keys signed it. Raises VerificationError `unsigned` or `bad-signature`."""
    if compact.signature is None:
        raise VerificationError("unsigned", "the receipt is not signed, and a key was given", where=where)
    if verified_by([compact.signature], compact.signed, keys) is None:
        raise VerificationError(
            "bad-signature", "none of the given keys signed this receipt as it is", where=where
        )


def _beginning(digest: Digest, size: int) -> bytes:
    """SHA-512 digests are hashed once more, so that no two kinds can be confused."""
    raw = bytes.fromhex(digest.hex)
    return (raw if digest.algorithm == "sha256" else hashlib.sha256(str(digest).encode()).digest())[:size]


def _wrong(why: str) -> UsageError:
    return UsageError("invalid-input", f"not a receipt from paper: {why}")
