"""Bytes as lines of text that people can type, each with a checksum of its own, in any order.

    7K3Q-001/042: XXXXXX XXXXXX XXXXXX XXXXXX XXXXXX XXXXXX XXXXXX XXXXXX CCCC

`7K3Q` is the same in all lines of a sheet: the beginning of the SHA-256 of the bytes. Then come the number of the
line and of all lines, 30 bytes in Crockford's base 32 (no I, L, O, U; I and L are read as 1, O as 0, small letters
as large ones, and spaces mean nothing), and 20 bits of the SHA-256 of all that is in front of them.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from isthmus.errors import IncompleteError, UsageError

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_READ_AS: Final = str.maketrans("ILO", "110")
_BYTES: Final = 30
_GROUP: Final = 6
_MOST_LINES: Final = 9999
_LINE = re.compile(r"([0-9A-Z]{4})-([0-9IOL]{1,4})/([0-9IOL]{1,4}):([0-9A-Z]+)", re.ASCII)
SEPARATOR: Final = "$"
"""Stands between lines in a QR code, whose dense alphabet has no line end."""


def to_lines(data: bytes) -> list[str]:
    """The lines of a sheet. Raises UsageError `wrong-usage` where there are more than can be counted."""
    name = _encoded(hashlib.sha256(data).digest())[:4]
    count = max(1, -(-len(data) // _BYTES))
    if count > _MOST_LINES:
        raise UsageError("wrong-usage", f"{len(data)} bytes are too many for paper")
    lines = []
    for number in range(1, count + 1):
        text = _encoded(data[(number - 1) * _BYTES : number * _BYTES].ljust(_BYTES, b"\0"))
        groups = " ".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
        head = f"{name}-{number:03}/{count:03}"
        lines.append(f"{head}: {groups} {_checksum(name, number, count, text)}")
    return lines


def read_lines(text: str) -> bytes:
    """The bytes of a sheet, whose lines may be in any order, and more than once; other lines mean nothing.

    Raises IncompleteError `missing-content`, whose items say which lines lack or have a slip in them; UsageError
    `invalid-input` where lines of several sheets are mixed, or none is there.
    """
    found: dict[int, bytes] = {}
    slips: list[dict[str, object]] = []
    sheets: set[tuple[str, int]] = set()
    for place, line in _candidates(text):
        match = _LINE.fullmatch(line)
        if match is None:
            slips.append({"at": place, "why": "it is not of the form NAME-NUMBER/COUNT: LETTERS"})
            continue
        name = match[1].translate(_READ_AS)
        number, count = (int(match[group].translate(_READ_AS)) for group in (2, 3))
        letters = match[4].translate(_READ_AS)
        body, checksum = letters[:-4], letters[-4:]
        if _checksum(name, number, count, body) != checksum or len(body) != _BYTES * 8 // 5:
            slips.append({"at": place, "line": number, "why": "its checksum does not fit"})
            continue
        sheets.add((name, count))
        found[number] = _decoded(body)
    if len(sheets) > 1:
        names = ", ".join(sorted(name for name, _ in sheets))
        raise UsageError("invalid-input", f"these are lines of several sheets: {names}")
    if not sheets:
        raise _lacking([], slips) if slips else UsageError("invalid-input", "there is no line of a paper receipt")
    ((name, count),) = sheets
    missing = [number for number in range(1, count + 1) if number not in found]
    if missing:
        raise _lacking(missing, [slip for slip in slips if slip.get("line") not in found])
    data = b"".join(found[number] for number in range(1, count + 1))
    return _without_padding(data, name)


def _without_padding(data: bytes, name: str) -> bytes:
    """Cut the zeros that fill up the last line, so that the bytes have the SHA-256 that they are named by."""
    for end in range(len(data), len(data) - _BYTES - 1, -1):
        if _encoded(hashlib.sha256(data[:end]).digest())[:4] == name:
            return data[:end]
        if end and data[end - 1]:
            break
    raise UsageError("invalid-input", "all lines are right, but not of one sheet")


def _candidates(text: str) -> Iterator[tuple[str, str]]:
    """Where in the text something stands that is meant to be a line, and what it is without spaces."""
    for number, row in enumerate(text.splitlines(), 1):
        for part, piece in enumerate(row.split(SEPARATOR), 1):
            squeezed = "".join(piece.split()).upper()
            if re.match(r"[0-9A-Z]{4}[-–]", squeezed) and "/" in squeezed[:12]:
                place = f"line {number}" if SEPARATOR not in row else f"line {number}, part {part}"
                yield place, squeezed.replace("–", "-")


def _lacking(missing: Iterable[int], slips: list[dict[str, object]]) -> IncompleteError:
    numbers = list(missing)
    said = [f"{slip['at']}: {slip['why']}" for slip in slips[:10]]
    if numbers:
        listed = ", ".join(map(str, numbers[:30])) + (" …" if len(numbers) > 30 else "")
        said.insert(0, f"lines that are not here, or not as they were printed: {listed}")
    return IncompleteError(
        "missing-content",
        "; ".join(said),
        hint="type or scan these again, into the same file or another one, in any order",
        items=[{"line": number} for number in numbers] + slips,
    )


def _checksum(name: str, number: int, count: int, letters: str) -> str:
    return _encoded(hashlib.sha256(f"{name}-{number}/{count}:{letters}".encode()).digest())[:4]


def _encoded(data: bytes) -> str:
    """Base 32, without what does not fill a letter."""
    bits, letters = int.from_bytes(data, "big"), len(data) * 8 // 5
    bits >>= len(data) * 8 - letters * 5
    return "".join(_ALPHABET[bits >> 5 * (letters - 1 - place) & 31] for place in range(letters))


def _decoded(letters: str) -> bytes:
    value = 0
    for letter in letters:
        value = value << 5 | _VALUES[letter]
    return value.to_bytes(len(letters) * 5 // 8, "big")
