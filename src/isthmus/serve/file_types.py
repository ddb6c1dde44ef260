"""Media types of files by name; never a content encoding, since the bytes are what has the checksum."""

import mimetypes
import os

from isthmus.serve.tree import SUMS

TEXT = "text/plain; charset=utf-8"

_TYPES = {
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".tgz": "application/gzip",
    ".gz": "application/gzip",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
    ".bz2": "application/x-bzip2",
    ".deb": "application/vnd.debian.binary-package",
    ".rpm": "application/x-rpm",
    ".asc": TEXT,
    ".prov": TEXT,
    ".sha256": TEXT,
    ".repo": TEXT,
    ".pack": "application/x-git-packed-objects",
    ".idx": "application/x-git-packed-objects-toc",
}
_NAMES = {
    SUMS: TEXT,
    "HEAD": TEXT,
    "InRelease": TEXT,
    "Release": TEXT,
    "Packages": TEXT,
    "refs": TEXT,
    "packs": TEXT,
}


def media_type(name: str) -> str:
    """The type of a file."""
    known = _TYPES.get(os.path.splitext(name)[1].lower()) or _NAMES.get(name)
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"
