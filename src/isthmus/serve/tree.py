"""A directory tree as it is served: paths that cannot leave it, listings, and checksums.

Every part of a path is opened below the one before, and no symbolic link is followed, so that nothing outside
is ever read. Names that begin with a dot are not there. Not here: HTTP.
"""

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from isthmus.oci.content import CHUNK

SUMS = "SHA256SUMS"

_MAX_PARTS = 64
_REMEMBERED = 100_000  # checksums
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class NotThereError(Exception):
    """There is nothing to be served under that path. Does not leave this room."""


@dataclass(frozen=True)
class Item:
    """One name in a directory."""

    name: str
    is_directory: bool
    size: int
    changed: float


def split_path(raw_path: str) -> tuple[str, ...]:
    """The parts of a URL's path, percent-encoding undone once. Raises NotThereError for what is no name."""
    try:
        text = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise NotThereError from None
    parts = [part for part in text.split("/") if part]
    if len(parts) > _MAX_PARTS or any(part in (".", "..") or "\0" in part or len(part) > 255 for part in parts):
        raise NotThereError
    return tuple(parts)


class Tree:
    """A directory that may change while it is served. Safe for threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sums: OrderedDict[tuple[int, int, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, parts: tuple[str, ...]) -> tuple[int, os.stat_result]:
        """A descriptor of a file or directory, which the caller closes. Raises NotThereError."""
        if any(part.startswith(".") for part in parts):
            raise NotThereError
        try:
            descriptor = os.open(self._root, _FLAGS | os.O_DIRECTORY)
        except OSError:
            raise NotThereError from None
        for part in parts:
            try:
                following = os.open(part, _FLAGS, dir_fd=descriptor)
            except (OSError, ValueError):
                raise NotThereError from None
            finally:
                os.close(descriptor)
            descriptor = following
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            os.close(descriptor)
            raise NotThereError
        return descriptor, status

    @contextmanager
    def _directory(self, parts: tuple[str, ...]) -> Iterator[int]:
        descriptor, status = self.open(parts)
        try:
            if not stat.S_ISDIR(status.st_mode):
                raise NotThereError
            yield descriptor
        finally:
            os.close(descriptor)

    def items(self, parts: tuple[str, ...]) -> list[Item]:
        """What is in a directory, sorted, directories first. Raises NotThereError."""
        with self._directory(parts) as descriptor:
            return sorted(_items(descriptor), key=lambda item: (not item.is_directory, item.name))

    def sums(self, parts: tuple[str, ...]) -> dict[str, str]:
        """SHA-256 of the files in a directory, by name; hashed once until they change. Raises NotThereError."""
        found = {}
        with self._directory(parts) as descriptor:
            for item in _items(descriptor):
                if not item.is_directory and item.name != SUMS:
                    digest = self._sum(descriptor, item.name)
                    if digest is not None:
                        found[item.name] = digest
        return found

    def _sum(self, directory: int, name: str) -> str | None:
        try:
            descriptor = os.open(name, _FLAGS, dir_fd=directory)
        except OSError:
            return None  # it went away meanwhile
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            with self._lock:
                found = self._sums.get(key)
            if found is None:
                hashing = hashlib.sha256()
                while chunk := file.read(CHUNK):
                    hashing.update(chunk)
                found = hashing.hexdigest()
                with self._lock:
                    self._sums[key] = found
                    while len(self._sums) > _REMEMBERED:
                        self._sums.popitem(last=False)
        return found


def _items(descriptor: int) -> Iterator[Item]:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                entry.name.encode()
            except (OSError, UnicodeEncodeError):
                continue  # gone meanwhile, or a name that no URL can have
            is_directory = stat.S_ISDIR(status.st_mode)
            if not entry.name.startswith(".") and (is_directory or stat.S_ISREG(status.st_mode)):
                yield Item(entry.name, is_directory, status.st_size, status.st_mtime)
