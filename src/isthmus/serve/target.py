"""What a path under `/v2/` asks for (OCI distribution-spec 1.1, "Endpoints"). Nothing is looked up."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from isthmus.errors import UsageError
from isthmus.oci import Digest
from isthmus.serve.answers import RefusedError
from isthmus.serve.noted import request_key

Kind = Literal["ping", "catalog", "tags", "manifests", "blobs", "referrers", "uploads", "upload", "files", "git"]

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_SESSION = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MAX_NAME = 1024  # a name of 255 characters, and what a mapping puts before it


@dataclass(frozen=True)
class Target:
    """`name` is a repository as it was asked for, `digest`, `tag` or `session` what of it, where applicable."""

    kind: Kind
    name: str = ""
    digest: Digest | None = None
    tag: str = ""
    session: str = ""


TARGET = request_key("target", Target)
"""Where a request keeps what it asks for."""


def parse_target(raw_path: str) -> Target:
    """Parse the path of a URL, still percent-encoded. Raises RefusedError with the code of the specification."""
    path = _decoded(raw_path)
    rest = path.removeprefix("/v2").strip("/") if path in ("/v2", "/v2/") else path.removeprefix("/v2/")
    if not rest:
        return Target("ping")
    if rest == "_catalog":
        return Target("catalog")
    name, _, last = rest.rpartition("/")
    name, _, endpoint = name.rpartition("/")
    if endpoint == "tags" and last == "list":
        return Target("tags", checked_name(name))
    if endpoint == "uploads" and name.endswith("/blobs"):
        return _upload(checked_name(name.removesuffix("/blobs")), last)
    if endpoint == "blobs" and last == "uploads":
        return Target("uploads", checked_name(name))
    if endpoint == "blobs":
        return Target("blobs", checked_name(name), digest=checked_digest(last))
    if endpoint == "referrers":
        return Target("referrers", checked_name(name), digest=checked_digest(last))
    if endpoint == "manifests":
        if ":" in last:
            return Target("manifests", checked_name(name), digest=checked_digest(last))
        return Target("manifests", checked_name(name), tag=checked_tag(last))
    raise RefusedError(404, "UNSUPPORTED", "there is no such endpoint")


def checked_tag(text: str) -> str:
    """The tag. Raises RefusedError `MANIFEST_INVALID` where it is none."""
    if not _TAG.fullmatch(text):
        raise RefusedError(400, "MANIFEST_INVALID", "the reference is neither a tag nor a digest")
    return text


def _upload(name: str, session: str) -> Target:
    if not session:
        return Target("uploads", name)
    if not _SESSION.fullmatch(session):
        raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
    return Target("upload", name, session=session)


def _decoded(raw_path: str) -> str:
    try:
        return unquote_to_bytes(raw_path).decode("ascii")
    except UnicodeDecodeError as error:
        raise RefusedError(400, "NAME_INVALID", "names are ASCII") from error


def checked_name(name: str) -> str:
    """The repository name. Raises RefusedError `NAME_INVALID` where it is none."""
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise RefusedError(400, "NAME_INVALID", "not a repository name")
    return name


def checked_digest(text: str) -> Digest:
    """The digest. Raises RefusedError `DIGEST_INVALID` where it is none."""
    try:
        return Digest(text)
    except UsageError as error:
        raise RefusedError(400, "DIGEST_INVALID", error.message) from error
