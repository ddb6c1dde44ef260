"""What a session sends: the files, their digests, and how they are cut into symbols and groups.

Every file begins with a symbol of its own; all symbols are counted from 0 over all files. A group is
`columns` × `depth` symbols in sequence; symbol `i` of it is in block `i` modulo `depth`, column `i` div `depth`:
what is sent in sequence is in different blocks, so that a burst of losses is shared by all of them.
Not here: datagrams (`packets`), arithmetic (`coding`).
"""

import hashlib
import math
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, NamedTuple

import msgspec

from isthmus.bundle.manifest import canonical
from isthmus.bundle.medium import failed, open_regular
from isthmus.carry.diode.packets import HEADER_SIZE, LARGEST, SESSION_SIZE
from isthmus.errors import UsageError
from isthmus.oci.content import new_buffer

FORMAT: Final = "isthmus-diode"
VERSION: Final = 1
MAX_CATALOGUE: Final = 4 * 1024 * 1024
_MOST_FILES: Final = 50_000
_MOST_BYTES: Final = 2**50
_MOST_GROUPS: Final = 2**20
_GROUP_BYTES: Final = 24 * 1024 * 1024
_MOST_GROUP_BYTES: Final = 32 * 1024 * 1024
_MOST_SYMBOLS: Final = 250
_MOST_COLUMNS: Final = 200
_NAME = re.compile(r"[A-Za-z0-9_+@=,~][A-Za-z0-9_+@=,~. -]{0,200}", re.ASCII)

_Count = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class SentFile(msgspec.Struct, frozen=True, array_like=True):
    """A file: its path below the directory, size in bytes, and SHA-256."""

    path: Annotated[str, msgspec.Meta(max_length=1000)]
    size: Annotated[int, msgspec.Meta(ge=0, le=_MOST_BYTES)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Document(msgspec.Struct, frozen=True):
    format: str
    version: int
    symbol: _Count
    columns: _Count
    rows: Annotated[int, msgspec.Meta(ge=0, le=255)]
    depth: _Count
    files: Annotated[tuple[SentFile, ...], msgspec.Meta(min_length=1, max_length=_MOST_FILES)]


class Place(NamedTuple):
    """Where a symbol is: the number of its file, where in it, how many bytes; zeros behind them are nowhere."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True)
class Catalogue:
    """A session."""

    raw: bytes
    symbol: int
    columns: int
    rows: int
    depth: int
    files: tuple[SentFile, ...]

    @cached_property
    def session(self) -> bytes:
        """16 bytes that name it."""
        return hashlib.sha256(self.raw).digest()[:SESSION_SIZE]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate((-(-file.size // self.symbol) for file in self.files), initial=0))

    @property
    def numbers(self) -> dict[str, int]:
        """What `shape` gave."""
        return {"symbol": self.symbol, "columns": self.columns, "rows": self.rows, "depth": self.depth}

    @property
    def symbols(self) -> int:
        """How many symbols all files have."""
        return self._ends[-1]

    @property
    def in_group(self) -> int:
        """How many symbols a group has, of which the last one may lack some."""
        return self.columns * self.depth

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return -(-self.symbols // self.in_group)

    @property
    def blocks(self) -> int:
        """How many blocks there are; block `b` of group `g` is number `g` × `depth` + `b`."""
        return self.groups * self.depth

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.size for file in self.files)

    def count_in(self, group: int) -> int:
        """How many symbols of a group exist."""
        return min(self.in_group, self.symbols - group * self.in_group)

    def place(self, number: int) -> Place:
        """Where a symbol is."""
        file = bisect_right(self._ends, number) - 1
        offset = (number - self._ends[file]) * self.symbol
        return Place(file, offset, min(self.symbol, self.files[file].size - offset))

    def symbols_of(self, file: int) -> range:
        """The numbers of a file's symbols."""
        return range(self._ends[file], self._ends[file + 1])


def describe(source: Path) -> tuple[tuple[SentFile, ...], tuple[Path, ...]]:
    """Hash what is to be sent: a directory or a file. Raises UsageError, UnreachableError `io-failed`."""
    found = _files(source)
    return tuple(_described(name, path) for name, path in found), tuple(path for _, path in found)


def shape(files: tuple[SentFile, ...], *, mtu: int, redundancy: float, interleave: int) -> dict[str, int]:
    """Symbol, columns, rows and depth as a sender chooses them."""
    symbol = min(mtu, LARGEST) - HEADER_SIZE
    columns = max(1, min(_MOST_COLUMNS, int(_MOST_SYMBOLS * 100 / (100 + redundancy))))
    rows = min(_MOST_SYMBOLS - columns, math.ceil(columns * redundancy / 100))
    symbols = sum(-(-file.size // symbol) for file in files)
    depth = max(1, min(interleave, -(-symbols // columns), _GROUP_BYTES // ((columns + rows) * symbol)))
    return {"symbol": symbol, "columns": columns, "rows": rows, "depth": depth}


def make_catalogue(files: tuple[SentFile, ...], numbers: Mapping[str, int]) -> Catalogue:
    """The catalogue of these files, for a `shape`. Raises UsageError `invalid-input`."""
    try:
        return read_catalogue(canonical(_Document(FORMAT, VERSION, files=files, **numbers)))
    except ValueError as error:
        raise UsageError("invalid-input", f"this cannot be sent: {error}") from error


def read_catalogue(raw: bytes) -> Catalogue:
    """A catalogue whose numbers and names can do no harm; raises ValueError for any other."""
    if len(raw) > MAX_CATALOGUE:
        raise ValueError(f"the list of files has more than {MAX_CATALOGUE} bytes")
    try:
        document = msgspec.json.decode(raw, type=_Document)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ValueError(str(error)) from error
    if (document.format, document.version) != (FORMAT, VERSION):
        raise ValueError("it is of another format or version")
    if document.symbol > LARGEST - HEADER_SIZE or document.symbol < 128:
        raise ValueError("impossible size of symbols")
    if document.columns + document.rows > 256:
        raise ValueError("more symbols in a block than the code has")
    if (document.columns + document.rows) * document.depth * document.symbol > _MOST_GROUP_BYTES:
        raise ValueError("groups too large")
    _check_names(document.files)
    catalogue = Catalogue(raw, document.symbol, document.columns, document.rows, document.depth, document.files)
    if catalogue.bytes > _MOST_BYTES or catalogue.groups > _MOST_GROUPS:
        raise ValueError("too many bytes in too small groups; use larger datagrams or more interleaving")
    return catalogue


def _check_names(files: tuple[SentFile, ...]) -> None:
    paths = {file.path for file in files}
    if len(paths) != len(files):
        raise ValueError("a file is there twice")
    for path in paths:
        parts = path.split("/")
        if len(parts) > 8 or not all(_NAME.fullmatch(part) for part in parts):
            raise ValueError(f"not a name for a file: {path[:200]!r}")
        if any("/".join(parts[:end]) in paths for end in range(1, len(parts))):
            raise ValueError(f"a file is also a directory: {path[:200]!r}")


def _files(source: Path) -> list[tuple[str, Path]]:
    """All plain files, by name; hidden and unfinished ones do not belong to a bundle."""
    try:
        if not source.is_dir():
            return [(source.name, source)]
        result = []
        for path in sorted(source.rglob("*")):
            relative = PurePosixPath(path.relative_to(source))
            if any(part.startswith(".") for part in relative.parts) or path.name.endswith(".partial"):
                continue
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                result.append((str(relative), path))
            elif not stat.S_ISDIR(mode):
                raise UsageError("invalid-input", "it is not a plain file", where=str(path))
    except OSError as error:
        raise failed(error, source) from error
    if not result:
        raise UsageError("file-not-found", "there is nothing to send", where=str(source))
    return result


def _described(name: str, path: Path) -> SentFile:
    with open_regular(path) as file:
        digest, buffer = hashlib.sha256(), new_buffer()
        for position in range(0, file.size, len(buffer)):
            digest.update(buffer[: file.into(buffer, position)])
        return SentFile(name, file.size, digest.hexdigest())


def hash_of(descriptor: int) -> str:
    """The SHA-256 of an open file, from its beginning. Raises OSError."""
    digest, buffer, position = hashlib.sha256(), new_buffer(), 0
    while count := os.preadv(descriptor, [buffer], position):
        digest.update(buffer[:count])
        position += count
    return digest.hexdigest()
