"""What an incoming directory's last looks found: `.isthmus-receive.json` in it, written in one step.

Losing it costs time, nothing else. Not here: looking.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from isthmus.bundle.medium import failed

FILE: Final = ".isthmus-receive.json"
_MAX_FILE: Final = 64 * 1024 * 1024


class Done(msgspec.Struct, frozen=True):
    """A bundle that was verified and, where `store` is not empty, unpacked there; its files by name."""

    bundle: str
    name: str
    files: dict[str, str]
    store: str
    at: str


class Waiting(msgspec.Struct, frozen=True):
    """A bundle that is not taken yet, and why: file names of missing volumes, or a reason; `at` in seconds."""

    bundle: str
    name: str
    missing: tuple[str, ...]
    why: str = ""
    files: dict[str, str] = {}
    store: str = ""
    at: float = 0.0


class Remembered(msgspec.Struct, frozen=True):
    """All of it."""

    done: dict[str, Done] = {}
    waiting: dict[str, Waiting] = {}
    format: int = 1


def load(directory: Path) -> Remembered:
    """What is remembered; nothing where the file is not there or makes no sense."""
    with suppress(OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        path = directory / FILE
        if path.stat().st_size <= _MAX_FILE:
            return msgspec.json.decode(path.read_bytes(), type=Remembered)
    return Remembered()


def save(directory: Path, remembered: Remembered) -> None:
    """Replace the file. Raises UnreachableError `io-failed`."""
    path = directory / FILE
    temporary = directory / f"{FILE}.new"
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(remembered), indent=1))
        os.replace(temporary, path)
    except OSError as error:
        raise failed(error, path) from error
