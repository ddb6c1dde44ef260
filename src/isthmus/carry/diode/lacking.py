"""What a receiver lacks: a file for the sender, and a line that can be read out, typed or printed.

Both name blocks of the session (`catalogue`). The line is `SESSION:RANGES:CHECKSUM`; where it would be long,
ranges with small gaps between them are joined, and somewhat more is sent. Not here: finding out (`staging`).
"""

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from isthmus.bundle.medium import open_regular
from isthmus.carry.diode.catalogue import Catalogue
from isthmus.errors import UsageError

FORMAT: Final = "isthmus-lacking"
FILE: Final = "lacking.json"
_LONGEST_CODE: Final = 400
_LARGEST_FILE: Final = 64 * 1024 * 1024
_CODE = re.compile(r"([0-9a-f]{8}):([0-9,-]+):([0-9a-f]{8})", re.ASCII)

Range = tuple[int, int]
"""The first block, and how many."""


class _Numbers(msgspec.Struct, frozen=True):
    symbol: int
    columns: int
    rows: int
    depth: int


class _Document(msgspec.Struct, frozen=True):
    format: str
    session: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    sent_as: _Numbers
    blocks: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sent again. `numbers` are as in the catalogue, where they are known."""

    session: str
    numbers: dict[str, int] | None
    ranges: tuple[Range, ...]

    def blocks_in(self, group: int, depth: int) -> list[int]:
        """The blocks of a group that are wanted."""
        first, end = group * depth, (group + 1) * depth
        return [
            number - first
            for start, count in self.ranges
            for number in range(max(start, first), min(start + count, end))
        ]


def document_of(catalogue: Catalogue, blocks: Sequence[int], ranges: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """What is lacking, for `lacking.json`; `ranges` are path, first byte and end of what lacks in the files."""
    files: dict[str, list[list[int]]] = {}
    for path, start, end in ranges:
        files.setdefault(path, []).append([start, end])
    return {
        "format": FORMAT,
        "session": catalogue.session.hex(),
        "sent_as": catalogue.numbers,
        "blocks": [list(run) for run in runs_of(blocks)],
        "of_blocks": catalogue.blocks,
        "bytes": sum(end - start for found in files.values() for start, end in found),
        "files": [{"path": path, "ranges": found} for path, found in files.items()],
        "code": code_of(catalogue.session, blocks),
    }


def code_of(session: bytes, blocks: Sequence[int]) -> str:
    """A line for people."""
    gap = 1
    while True:
        ranges = ",".join(
            str(first) if count == 1 else f"{first}-{first + count - 1}" for first, count in runs_of(blocks, gap)
        )
        if len(ranges) <= _LONGEST_CODE:
            text = f"{session.hex()[:8]}:{ranges}"
            return f"{text}:{zlib.crc32(text.encode()):08x}"
        gap *= 2


def runs_of(numbers: Iterable[int], gap: int = 1) -> list[Range]:
    """Ascending numbers as runs, joined where they are no more than `gap` apart."""
    runs: list[Range] = []
    for number in numbers:
        if runs and number <= sum(runs[-1]) - 1 + gap:
            runs[-1] = (runs[-1][0], number - runs[-1][0] + 1)
        else:
            runs.append((number, 1))
    return runs


def read_wanted(text: str) -> Wanted:
    """A list from a file (`lacking.json`, or the line in a text file), or the line itself. Raises UsageError."""
    if text.count(":") == 2 and not Path(text).exists():
        return _from_code(text)
    with open_regular(Path(text)) as file:
        if file.size > _LARGEST_FILE:
            raise _wrong(text, "it is too large")
        data = file.at(0, file.size)
    if not data.lstrip().startswith(b"{"):
        return _from_code(data.decode("ascii", "replace"))
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _wrong(text, str(error)) from error
    if document.format != FORMAT:
        raise _wrong(text, "it is of another format")
    return Wanted(document.session, msgspec.to_builtins(document.sent_as), _checked(document.blocks, text))


def _from_code(text: str) -> Wanted:
    stripped = "".join(text.split()).lower()
    match = _CODE.fullmatch(stripped)
    if match is None:
        raise _wrong(text, "not of the form SESSION:RANGES:CHECKSUM")
    if f"{zlib.crc32(stripped[:-9].encode()):08x}" != match[3]:
        raise _wrong(text, "its checksum does not fit; look for a slip of the pen")
    ranges = []
    for part in match[2].split(","):
        first, _, last = part.partition("-")
        try:
            ranges.append((int(first[:19]), int((last or first)[:19]) - int(first[:19]) + 1))
        except ValueError as error:
            raise _wrong(text, "not ranges of numbers") from error
    return Wanted(match[1], None, _checked(ranges, text))


def _checked(ranges: Sequence[Range], text: str) -> tuple[Range, ...]:
    end = 0
    for first, count in ranges:
        if first < end or count < 1 or first + count > 2**40:
            raise _wrong(text, "its ranges are not in order")
        end = first + count
    return tuple(ranges)


def as_json(document: dict[str, Any]) -> bytes:
    """The file's bytes."""
    return json.dumps(document, indent=1).encode() + b"\n"


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(
        "invalid-input",
        f"not a list of what a receiver lacks: {why}",
        where=" ".join(text.split())[:100],
        hint="give the receiver's lacking.json, or the line that it printed",
    )
