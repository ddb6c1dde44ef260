"""The names of what is in a store's directory, and how an empty one is made and a given one is checked.

`oci-layout`, `index.json` and `blobs/` are the image layout (image-spec 1.1, image-layout.md); the rest is
ours and may be removed while nobody uses the store. Not here: what the files hold.
"""

import os
from pathlib import Path

import msgspec

from isthmus.errors import UsageError
from isthmus.store import files, index

MARKER = "oci-layout"
INDEX = "index.json"
BLOBS = "blobs"
INGEST = "ingest"
LEASES = "leases"
DATABASE = "index.sqlite"
INDEX_LOCK = "index.lock"
INDEX_TEMPORARY = "index.json.new"

_VERSION = "1.0.0"
_MARKER_TEXT = b'{"imageLayoutVersion":"1.0.0"}'
_MARKER_LIMIT = 64 * 1024


class _Marker(msgspec.Struct, rename="camel"):
    image_layout_version: str


def create(path: Path) -> None:
    """Make what is missing, the marker last; what is there stays."""
    with files.io_errors(path):
        os.makedirs(path, exist_ok=True)
    files.make_directory(path / BLOBS)
    files.make_directory(path / BLOBS / "sha256")
    with files.locked(path / INDEX_LOCK):
        if files.regular_size(path / INDEX) is None:
            _place(path / INDEX, index.encode_index(index.Index()))
        if files.regular_size(path / MARKER) is None:
            _place(path / MARKER, _MARKER_TEXT)


def _place(path: Path, data: bytes) -> None:
    files.replace_file(path, data, path.with_name(f"{path.name}.new"), durable=False)


def check(path: Path) -> None:
    """Raise UsageError `store-not-found` where there is no layout, `invalid-input` for another version."""
    marker = path / MARKER
    if not os.path.isdir(path) or (data := files.read_limited(marker, _MARKER_LIMIT)) is None:
        raise UsageError(
            "store-not-found",
            "there is no image layout here",
            where=str(path),
            hint="`isthmus pull` or `isthmus unpack` makes one; --store names its directory",
        )
    try:
        version = msgspec.json.decode(data, type=_Marker).image_layout_version
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError("invalid-input", "it is not the marker of an image layout", where=str(marker)) from error
    if version != _VERSION:
        raise UsageError(
            "invalid-input", f"image layout version {version[:40]!r} is not {_VERSION}", where=str(marker)
        )
