"""References to images and artifacts: `host[:port]/path[:tag][@digest]`.

The grammar and the short names (`nginx` is `docker.io/library/nginx:latest`) are those of the
distribution project's `reference` package, which Docker and containerd use. Not here: where a host is
reached (`registry`) and what a name becomes inside a site (`inventory.mapping`).
"""

import ipaddress
import re
from typing import Self

import msgspec

from isthmus.errors import UsageError
from isthmus.oci.digest import Digest

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII)
_BARE_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)
_HEX = re.compile(r"[a-f0-9]{64}|[a-f0-9]{128}", re.ASCII)
_DIGEST_NAMES = ("library/sha256", "library/sha512")

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"
MAX_PATH_LENGTH = 255


class Reference(msgspec.Struct, frozen=True, order=True):
    """A normalised reference; a tag and a digest may both be there, and then the digest decides."""

    host: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse and normalise what a person or a manifest writes.

        Raises UsageError (`invalid-reference`, or `invalid-digest` for the part behind `@`).
        """
        if len(text) > 1024:
            raise _wrong(text, "it is longer than 1024 characters")
        if _SCHEME.match(text):
            raise _wrong(text, "it begins with a scheme", hint="write host/path:tag, with no scheme")
        name, at, digest_text = text.partition("@")
        digest = Digest(digest_text) if at else None
        host, rest = _split_host(name)
        path, colon, tag = rest.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise _wrong(text, f"{tag[:140]!r} is not a tag")
        if host == DEFAULT_HOST and "/" not in path:
            path = f"library/{path}"
        _check(text, host, path)
        if path in _DIGEST_NAMES and _HEX.fullmatch(tag):
            raise _wrong(text, "it is an image's identifier, not a name", hint="write name@sha256:…")
        return cls(host=host, path=path, tag=tag if colon or digest else DEFAULT_TAG, digest=digest)

    @property
    def repository(self) -> str:
        """`host/path`, without tag and digest."""
        return f"{self.host}/{self.path}"

    @property
    def target(self) -> str:
        """What to ask a registry for: the digest where there is one, otherwise the tag."""
        return self.digest or self.tag

    def with_digest(self, digest: Digest) -> "Reference":
        """The same reference pinned to a digest."""
        return msgspec.structs.replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.path}{tag}{digest}"


def _split_host(name: str) -> tuple[str, str]:
    """Docker's rule: a first part with a dot, a colon or an uppercase letter, or localhost, is a host."""
    first, slash, rest = name.partition("/")
    is_host = any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()
    if not slash or not is_host:
        return DEFAULT_HOST, name
    return (DEFAULT_HOST if first == "index.docker.io" else first), rest


def _check(text: str, host: str, path: str) -> None:
    if not _HOST.fullmatch(host) or (host.startswith("[") and not _is_ipv6(host)):
        raise _wrong(text, f"{host[:260]!r} is not a host name")
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        raise _wrong(text, "the repository name must be lowercase")
    if not _PATH.fullmatch(path):
        raise _wrong(text, f"{path[:260]!r} is not a repository name")
    if len(path) > MAX_PATH_LENGTH:
        raise _wrong(text, f"the repository name is longer than {MAX_PATH_LENGTH} characters")
    if _BARE_IDENTIFIER.fullmatch(path.removeprefix("library/")):
        raise _wrong(text, "64 hexadecimal digits are an identifier, not a name", hint="write name@sha256:…")


def _is_ipv6(host: str) -> bool:
    """Whether what is in brackets is an address; the grammar lets through more than that."""
    try:
        ipaddress.IPv6Address(host[1:].partition("]")[0])
    except ValueError:
        return False
    return True


def _wrong(text: str, why: str, hint: str = "") -> UsageError:
    return UsageError("invalid-reference", f"not an image reference: {text[:300]!r}: {why}", hint=hint)
