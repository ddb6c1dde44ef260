"""Writes generated files below one directory, each at once or not at all, and nothing anywhere else.

A file that has the right bytes already is not touched, so that configuring twice changes nothing. Not here:
what the files say.
"""

import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from isthmus.errors import UnreachableError, UsageError

_MODE = 0o644
_EXECUTABLE = 0o755
_SECRET = 0o600


@dataclass(frozen=True)
class OutputFile:
    """A file to write; `path` is relative to the output directory. One that is `secret` is its owner's alone."""

    path: str
    content: bytes
    secret: bool = False

    @property
    def mode(self) -> int:
        """Its permissions; a shell script can be run."""
        return _SECRET if self.secret else _EXECUTABLE if self.path.endswith(".sh") else _MODE


def write_files(files: Iterable[OutputFile], out: Path, *, dry_run: bool = False) -> tuple[Path, ...]:
    """Write files and return where they are, or with `dry_run` would be, sorted.

    Raises UsageError `wrong-usage` before anything is written where a path would lead out of the directory,
    by its parts or through a symbolic link; UnreachableError `io-failed`.
    """
    files = sorted(files, key=lambda file: file.path)
    targets = [out / _checked(file.path) for file in files]
    try:
        for target in targets:
            _refuse_links(target, out)
        if not dry_run:
            for file, target in zip(files, targets, strict=True):
                _write(target, file.content, file.mode)
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(out)) from error
    return tuple(targets)


def _checked(path: str) -> PurePosixPath:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise UsageError("wrong-usage", f"not a path below the output directory: {path[:200]!r}")
    return PurePosixPath(path)


def _refuse_links(target: Path, out: Path) -> None:
    """Between the output directory and the file, nothing may lead elsewhere."""
    while target != out:
        if target.is_symlink():
            raise UsageError("wrong-usage", "a symbolic link is in the way", where=str(target))
        target = target.parent


def _write(target: Path, content: bytes, mode: int) -> None:
    if _has(target, content, mode):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _has(target: Path, content: bytes, mode: int) -> bool:
    try:
        found = target.stat()
        return (
            stat.S_IMODE(found.st_mode) == mode
            and found.st_size == len(content)
            and target.read_bytes() == content
        )
    except FileNotFoundError:
        return False
