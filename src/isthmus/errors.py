"""Every error that Isthmus raises on purpose: a stable code, what happened, where, and what to do.

Not here: anything that prints or exits; `cli` turns these into messages and exit statuses.

    IsthmusError
    ├── UsageError          2  wrong usage or wrong configuration
    ├── IncompleteError     3  something is unresolved, missing or waiting for a decision
    ├── VerificationError   4  a digest, size, signature, decryption or baseline does not hold
    └── UnreachableError    5  something outside could not be reached, or refused
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

CODES: Mapping[str, str] = {
    # 1: ours
    "internal-fault": "a fault of Isthmus itself; the traceback is in a file",
    # 2: usage and configuration
    "invalid-digest": "a digest is not of the form algorithm:hex, or its algorithm is not supported",
    "invalid-reference": "an image reference does not follow the reference grammar",
    "invalid-platform": "a platform is not of the form os/architecture[/variant]",
    "invalid-manifest": "a manifest or index is not valid JSON, or not of a supported type",
    "schema1-manifest": "the image is in Docker's schema 1, which has no verifiable digest",
    "invalid-source": "a source on the command line or in isthmus.yaml is not of the form KIND:VALUE",
    "invalid-size": "a size is not a number with an optional unit",
    "invalid-config": "isthmus.yaml, a credential file or another configuration file is wrong",
    "invalid-input": "an input file cannot be parsed within the limits",
    "invalid-lock": "isthmus.lock is not a lock of a version that this program reads",
    "invalid-key": "a key file does not hold a key of the kind that is needed",
    "file-exists": "a file that would be overwritten is there already",
    "file-not-found": "a file that was named is not there",
    "store-not-found": "there is no store at the given place",
    "store-busy": "another process holds the store",
    "mapping-collision": "two references would get the same name inside the site",
    "wrong-usage": "the command line asks for something that cannot be done",
    # 3: incomplete
    "unresolved": "something could not be resolved, rendered or found",
    "missing-content": "content that is needed is not there",
    "missing-volume": "a volume of the bundle was not given",
    # 4: verification
    "digest-mismatch": "content does not have the digest it was asked for",
    "size-mismatch": "content is longer or shorter than its descriptor says",
    "bad-signature": "a signature does not verify with the given key",
    "unsigned": "a signature was required and there is none",
    "damaged-volume": "a volume is damaged or truncated",
    "foreign-volume": "a volume belongs to another bundle",
    "baseline-missing": "the site does not hold what an update bundle leaves out, or it is damaged there",
    "not-decrypted": "an encrypted volume is for another identity, or its beginning is damaged",
    "older-bundle": "a bundle is not newer than one that the site has taken, or does not say so",
    "not-approved": "an approval was required, and there is none that counts for this bundle",
    "image-unsigned": "an image is not signed, or not attested, by the keys that were required",
    "expired-bundle": "a bundle is older than its makers allow it to be used, or does not say so",
    "damaged-store": "the store holds something other than its names say",
    # 5: outside
    "unreachable": "a host could not be reached",
    "cannot-listen": "an address to listen on is in use, not ours, or not allowed",
    "tls-failed": "a TLS connection could not be established or verified",
    "unauthorized": "a registry refused the credentials, or asked for some",
    "not-found": "a registry says that a manifest, blob or repository does not exist",
    "rate-limited": "a host asked to be left alone for longer than was allowed for",
    "refused": "a host refused the request",
    "sparse-index": "an index that is carried in part is refused, or cannot become one image",
    "missing-program": "a program that is needed is not installed",
    "program-failed": "a program of somebody else ended with an error, or not at all",
    "quota-exceeded": "a project of the registry is full",
    "immutable-tag": "a rule of the registry forbids to change a tag",
    "protocol": "a host answered with something that the protocol does not allow",
    "no-tool": "Isthmus itself cannot be carried: the wheels for the site cannot be had",
    "io-failed": "reading or writing a file failed (disk full, permission, medium error)",
}


class IsthmusError(Exception):
    """An error with a stable code; `status` is the exit status of a command that ends with it."""

    status: ClassVar[int] = 1

    def __init__(
        self, code: str, message: str, *, where: str = "", hint: str = "", items: Sequence[Any] = ()
    ) -> None:
        if code not in CODES:
            raise AssertionError(f"error code {code!r} is not listed in isthmus.errors.CODES")
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint
        self.items = tuple(items)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def at(self, where: str) -> "IsthmusError":
        """Fill in the place, where the code that found the error could not know it, and return self."""
        if not self.where:
            self.where = where
        return self

    def as_document(self) -> dict[str, Any]:
        """The error as the `--json` document of the contract."""
        body: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
            "status": self.status,
        }
        if self.items:
            body["items"] = list(self.items)
        return {"error": body}


class UsageError(IsthmusError):
    """Wrong usage or wrong configuration."""

    status = 2


class IncompleteError(IsthmusError):
    """Something is unresolved, missing or waiting for a decision."""

    status = 3


class VerificationError(IsthmusError):
    """A digest, size, signature, decryption or baseline does not hold."""

    status = 4


class UnreachableError(IsthmusError):
    """Something outside could not be reached, or refused.

    `temporary` says whether the same request may succeed later; `retry_after` is in seconds where the
    other side said so.
    """

    status = 5

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        items: Sequence[Any] = (),
        temporary: bool = False,
        retry_after: float | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(code, message, where=where, hint=hint, items=items)
        self.temporary = temporary
        self.retry_after = retry_after
        self.http_status = http_status
