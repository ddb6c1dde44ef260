"""Digests of content and their verification (OCI image-spec, descriptor.md, "Digests").

Not here: where the bytes come from; a `Verifier` is fed by whoever reads or writes them.
"""

import hashlib
import re
from typing import Self, TypeAlias

from isthmus.errors import UsageError, VerificationError

Buffer: TypeAlias = bytes | bytearray | memoryview

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([0-9a-f]+)", re.ASCII)


class Digest(str):
    """A checked digest string such as `sha256:…`; only sha256 and sha512 are supported.

    Raises UsageError (`invalid-digest`) for anything else, uppercase hex included.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:  # noqa: D102
        if type(text) is cls:
            return text
        match = _FORM.fullmatch(text)
        if match is None:
            raise UsageError("invalid-digest", f"not a digest: {text[:200]!r}")
        algorithm, encoded = match.groups()
        if algorithm not in _HEX_LENGTH:
            raise UsageError(
                "invalid-digest",
                f"digest algorithm {algorithm[:40]!r} is not supported",
                hint="the algorithms of the OCI specification are sha256 and sha512",
            )
        if len(encoded) != _HEX_LENGTH[algorithm]:
            raise UsageError(
                "invalid-digest", f"a {algorithm} digest has {_HEX_LENGTH[algorithm]} hex digits: {text[:200]!r}"
            )
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.split(":", 1)[0]

    @property
    def hex(self) -> str:
        """The encoded part, lowercase hexadecimal."""
        return self.split(":", 1)[1]

    @classmethod
    def of(cls, data: Buffer, algorithm: str = "sha256") -> Self:
        """The digest of bytes in memory."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


class Verifier:
    """Checks size and digest of content while it streams past.

    Feed every chunk to `update`, then call `finish`. Raises VerificationError: `size-mismatch` as soon as
    more than `size` bytes came, or on `finish` where fewer did; `digest-mismatch` on `finish`.
    """

    __slots__ = ("_hash", "count", "digest", "size", "where")

    def __init__(self, digest: Digest, size: int | None, where: str = "") -> None:
        self.digest = digest
        self.size = size
        self.where = where
        self.count = 0
        self._hash = hashlib.new(digest.algorithm)

    def update(self, chunk: Buffer) -> None:
        """Take the next bytes; hashing releases the GIL for chunks over 2 KiB."""
        self.count += memoryview(chunk).nbytes
        if self.size is not None and self.count > self.size:
            raise VerificationError(
                "size-mismatch",
                f"{self.digest} is longer than the {self.size} bytes it must have",
                where=self.where,
            )
        self._hash.update(chunk)

    def finish(self) -> None:
        """Say whether all that came is what was promised."""
        if self.size is not None and self.count != self.size:
            raise VerificationError(
                "size-mismatch",
                f"{self.digest} has {self.count} bytes instead of {self.size}",
                where=self.where,
            )
        found = f"{self.digest.algorithm}:{self._hash.hexdigest()}"
        if found != self.digest:
            raise VerificationError(
                "digest-mismatch", f"expected {self.digest}, the content has {found}", where=self.where
            )

    def copy(self) -> "Verifier":
        """The same state apart, to come back to where later bytes turn out to be lost."""
        other = Verifier.__new__(Verifier)
        other.digest, other.size, other.where, other.count = self.digest, self.size, self.where, self.count
        other._hash = self._hash.copy()  # noqa: SLF001 - of the same class
        return other
