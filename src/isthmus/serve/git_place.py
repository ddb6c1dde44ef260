"""A git repository of the store as a directory that the git program can read: hard links, made once.

The directory's name is the artifact's digest, so that it never changes. Not here: HTTP (`git_http`).
"""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.content import Thing
from isthmus.errors import UnreachableError
from isthmus.oci import Digest
from isthmus.oci.content import new_buffer
from isthmus.store import Store

_PACKED = re.compile(rb"^([0-9a-f]{64}) ", re.MULTILINE)
_SHA256 = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
_PLAIN = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


@contextmanager
def git_state(store: Store) -> Iterator[Path]:
    """The directory for all of them: in the store, or a temporary one where that cannot be written to."""
    root = store.path / "serve" / "git"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            yield root
            return
    except OSError:
        pass
    with tempfile.TemporaryDirectory(prefix="isthmus-git-") as name:
        yield Path(name)


def place(store: Store, thing: Thing, root: Path) -> Path:
    """The directory of a repository below `root`, made where it is missing. Raises `io-failed`, `not-found`."""
    final = root / thing.digest.hex
    if final.is_dir():
        return final
    temporary = root / f".{thing.digest.hex}.{secrets.token_hex(4)}"
    try:
        (temporary / "refs").mkdir(parents=True)
        (temporary / "objects").mkdir()
        for layer in thing.layers:
            path = temporary / layer.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if layer.path != "config":
                _link(store, layer.digest, path)
        packed = temporary / "packed-refs"
        is_sha256 = packed.exists() and _PACKED.search(packed.read_bytes()[: 1 << 20]) is not None
        (temporary / "config").write_text(_SHA256 if is_sha256 else _PLAIN)
        os.rename(temporary, final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if final.is_dir():  # another process was faster
            return final
        raise UnreachableError("io-failed", f"a git repository: {error.strerror}", where=str(root)) from error
    return final


def _link(store: Store, blob: Digest, path: Path) -> None:
    """A hard link where that can be; else a copy, from wherever the blob is."""
    try:
        os.link(store.blob_path(blob), path, follow_symlinks=False)
    except OSError:
        buffer = new_buffer()
        with store.blobs.reader(blob) as reader, open(path, "wb") as file:
            while count := reader.readinto(buffer):
                file.write(buffer[:count])


def tidy(root: Path, wanted: set[str]) -> None:
    """Remove directories of repositories that are served no more."""
    try:
        names = os.listdir(root)
    except OSError:
        return
    for name in names:
        if not name.startswith(".") and name not in wanted:
            shutil.rmtree(root / name, ignore_errors=True)
