"""What the console offers to download besides node files: the CA's certificate, the lock, reports.

Reports are the files in the directory `reports` of the store. Everything goes out as an attachment, so that
no file of others runs on our origin. Not here: the node files (`nodes`).
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.serve.console.holdings import LOCK_FILE
from isthmus.store import files

REPORTS = "reports"
MAX_FILE = 64 * 1024 * 1024
_MAX_CA = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", re.ASCII)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".pdf": "application/pdf",
    ".csv": "text/csv; charset=utf-8",
    ".lock": "application/yaml",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class Offer:
    """A file; size in bytes, changed in seconds since the epoch."""

    name: str
    size: int
    changed: float


def read_ca(path: Path | None) -> bytes:
    """The certificates of a PEM file and nothing else of it, least of all a key; nothing where there is none."""
    if path is None:
        return b""
    try:
        with open(path, "rb") as file:
            found = _CERTIFICATE.findall(file.read(_MAX_CA).replace(b"\r", b""))
    except OSError:
        return b""
    return b"".join(one + b"\n" for one in found)


def reports(store: Path) -> list[Offer]:
    """The files in the store's directory for reports, by name."""
    found = []
    try:
        with os.scandir(store / REPORTS) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and _NAME.fullmatch(entry.name):
                    found.append(Offer(entry.name, status.st_size, status.st_mtime))
    except OSError:
        return []
    return sorted(found, key=lambda one: one.name)[:200]


def read_report(store: Path, name: str) -> bytes | None:
    """A report's bytes, or None where there is none of that name."""
    if not _NAME.fullmatch(name):
        return None
    return _read(store / REPORTS / name)


def read_lock_file(store: Path, lock: Path | None) -> bytes | None:
    """The lock as it lies there."""
    return _read(lock or store / LOCK_FILE)


def _read(path: Path) -> bytes | None:
    try:
        return files.read_limited(path, MAX_FILE)
    except IsthmusError:
        return None


def media_type(name: str) -> str:
    """By the end of a name."""
    return _TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")
