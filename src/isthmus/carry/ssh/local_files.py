"""Which files to send, and the names they get on the far side. Not here: sending them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.bundle.medium import failed, open_regular
from isthmus.errors import IsthmusError, UsageError, VerificationError

PART: Final = ".part"
_MAX_FILES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file, its name below the far directory, and its size in bytes."""

    path: Path
    name: str
    size: int


def list_files(sources: Iterable[str | os.PathLike[str]]) -> list[LocalFile]:
    """Every plain file of directories and single files; hidden and unfinished ones are left out.

    Raises UsageError `file-not-found`, `invalid-input`, `wrong-usage` where two would get the same name.
    """
    found: dict[str, LocalFile] = {}
    for source in map(Path, sources):
        for path, name in _inside(source):
            if any(ord(letter) < 32 or ord(letter) == 127 for letter in name) or _undecodable(name):
                raise UsageError("invalid-input", "a file's name has a control character", where=repr(name))
            with open_regular(path) as file:
                one = LocalFile(path, name, file.size)
            if name in found and not os.path.samefile(found[name].path, path):
                raise UsageError("wrong-usage", f"two files would be {name!r} on the far side", where=str(path))
            found[name] = one
            if len(found) > _MAX_FILES:
                raise UsageError("invalid-input", f"there are more than {_MAX_FILES} files", where=str(source))
    if not found:
        raise UsageError("file-not-found", "there is no file to send in what was given")
    return list(found.values())


def _inside(source: Path) -> Iterator[tuple[Path, str]]:
    if not source.is_dir():
        yield source, source.name
        return

    def refuse(error: OSError) -> None:
        raise failed(error, error.filename or source)

    for place, directories, names in os.walk(source, onerror=refuse):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith((PART, ".partial")):
                path = Path(place, name)
                yield path, str(path.relative_to(source))


def _undecodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def changed(path: Path) -> IsthmusError:
    """Say that a file became shorter while it was sent."""
    return VerificationError("size-mismatch", "the file became shorter meanwhile", where=str(path))
