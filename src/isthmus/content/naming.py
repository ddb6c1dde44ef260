"""What things that are not images are called in a store (decision 0005). Pure.

Not here: what they are called inside a site's registry (`inventory.mapping`), and where the file server has
them (`serve_path`, which only follows what was asked for).
"""

import hashlib
import re
from urllib.parse import unquote, urlsplit

from isthmus.errors import UsageError
from isthmus.oci import Reference

HOST = "isthmus.internal"
ROOMS = {"file": "files", "packages": "packages", "git": "git", "chart": "charts"}
TAG = "latest"
_SLUG_LENGTH = 100
MAX_PATH = 1024


def slug(name: str) -> str:
    """The name in lower case with what a reference cannot hold replaced, and eight hex digits of its SHA-256."""
    bare = re.sub(r"^[a-z+]+://", "", name.lower())
    text = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", bare)).strip("-")[:_SLUG_LENGTH].strip("-")
    return f"{text or 'thing'}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def stored_name(kind: str, name: str) -> str:
    """The full name in a store of a file, a tree of packages or a git repository."""
    return f"{HOST}/{ROOMS[kind]}/{slug(name)}:{TAG}"


def chart_name(chart: str, version: str) -> str:
    """The full name of a chart, where `helm pull oci://` finds it; `+` is written `_`, as Helm does.

    Raises UsageError (`invalid-reference`) where the chart's name or version cannot be a reference.
    """
    name = f"{HOST}/{ROOMS['chart']}/{chart}:{version.replace('+', '_')}"
    parsed = Reference.parse(name)
    if str(parsed) != name or "/" in chart:
        raise UsageError("invalid-reference", f"{chart[:100]!r} {version[:100]!r} cannot name a chart")
    return name


def serve_path(url: str, wanted: str = "") -> str:
    """Where the file server has what comes from `url`: `HOST/PATH`, as Kubespray's files_repo expects.

    `wanted` is a whole path, or a directory where it ends with a slash. Raises UsageError (`invalid-config`).
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError("invalid-config", f"{url[:200]!r} is no URL") from error
    path = unquote(parts.path).strip("/")
    if not wanted:
        host = parts.netloc.rpartition("@")[2].lower()
        return checked_path(f"{host}/{path or 'index.html'}")
    if wanted.endswith("/") or wanted in ("", "."):
        return checked_path(f"{wanted.strip('/')}/{path.rpartition('/')[2] or 'index.html'}".lstrip("/"))
    return checked_path(wanted.strip("/"))


def checked_path(path: str) -> str:
    """A relative path that leads nowhere else, as it is. Raises UsageError (`invalid-config`)."""
    parts = path.split("/")
    is_plain = path and len(path) <= MAX_PATH and all(part not in ("", ".", "..") for part in parts)
    if not is_plain or any(ord(letter) < 0x20 or letter in "\\\x7f" for letter in path):
        raise UsageError("invalid-config", f"{path[:200]!r} is not a path that can be served")
    return path
