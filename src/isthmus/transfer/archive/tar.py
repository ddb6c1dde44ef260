"""Tar headers (POSIX ustar and pax, GNU long names), read with limits from hostile files.

The standard library's tarfile reads extended headers of any size into memory and raises errors of many
kinds. Only names, kinds and places come out of here: nothing is ever extracted, no link followed.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from isthmus.errors import UsageError
from isthmus.transfer.archive.opening import Stream, read_exactly, truncated

BLOCK = 512
MAX_MEMBERS = 200_000
MAX_EXTENDED = 1 << 20
"""Bytes of one extended header."""

Kind = Literal["file", "link", "other"]

_FILES = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_ZEROS = bytes(BLOCK)


class Member(msgspec.Struct, frozen=True):
    """A member: `offset` is where its data begin in the unpacked stream, `size` is in bytes."""

    name: str
    kind: Kind
    offset: int
    size: int


def read_members(stream: Stream, where: str) -> Iterator[Member]:
    """Every member in order; whoever takes one may read from the stream, but not beyond its data.

    Raises UsageError (`invalid-input`): no tar, truncated, too many members, sparse files, names that lead out.
    """
    extended: dict[str, str] = {}
    common: dict[str, str] = {}
    count = 0
    while header := _next_header(stream, where, first=not count and not extended and not common):
        kind, size = header[156:157], _size(header, where)
        if kind in (b"x", b"g", b"L", b"K"):
            data = _extended_data(stream, size, where)
            if kind in (b"L", b"K"):
                extended["path" if kind == b"L" else "linkpath"] = _text(data.partition(b"\0")[0])
            else:
                (extended if kind == b"x" else common).update(_pax(data, where))
            continue
        count += 1
        if count > MAX_MEMBERS:
            raise _wrong(where, f"it has more than {MAX_MEMBERS} members")
        member = _member(header, kind, size, {**common, **extended}, stream.position, where)
        extended = {}
        yield member
        stream.skip(member.offset + _padded(member.size) - stream.position)


def clean_name(name: str, where: str) -> str:
    """A path in the archive without `./`; raises UsageError (`invalid-input`) where it leads out of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise _wrong(where, f"the path {name[:200]!r} leads out of the archive")
    return "/".join(parts)


def _next_header(stream: Stream, where: str, *, first: bool) -> bytes:
    """The next header, or nothing at the end; an end without the two empty blocks is taken, as by others."""
    header = read_exactly(stream, BLOCK, where)
    if not header or header == _ZEROS:
        if first:
            raise _wrong(where, "it is empty")
        return b""
    stated = _number(header[148:156])
    unsigned = sum(header) - sum(header[148:156]) + 8 * 32
    if stated != unsigned:
        raise _wrong(where, "it is no tar" if first else "a header in it is damaged")
    return header


def _member(header: bytes, kind: bytes, size: int, extended: dict[str, str], position: int, where: str) -> Member:
    if kind == b"S" or any(key.startswith("GNU.sparse") for key in extended):
        raise _wrong(where, "it holds a sparse file")
    name = extended.get("path") or _ustar_name(header)
    if "size" in extended:
        size = _decimal(extended["size"], where)
    if kind in _WITHOUT_DATA or (kind in _FILES and name.endswith("/")):
        size = 0 if kind in _WITHOUT_DATA else size
        return Member(clean_name(name, where), "link" if kind in _LINKS else "other", position, size)
    return Member(clean_name(name, where), "file" if kind in _FILES else "other", position, size)


def _ustar_name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return _text(name)


def _extended_data(stream: Stream, size: int, where: str) -> bytes:
    if size > MAX_EXTENDED:
        raise _wrong(where, f"a header in it has {size} bytes")
    data = read_exactly(stream, _padded(size), where) if size else b""
    if size and not data:
        raise truncated(where)
    return data[:size]


def _pax(data: bytes, where: str) -> dict[str, str]:
    """Records `LENGTH KEY=VALUE\\n` (POSIX, "pax Header Block")."""
    found: dict[str, str] = {}
    while data:
        digits, space, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = data[:length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not (space and equals and key and len(record) == length and record.endswith(b"\n")):
            raise _wrong(where, "an extended header in it is damaged")
        found[_text(key)] = _text(value)
        data = data[length:]
    return found


def _size(header: bytes, where: str) -> int:
    size = _number(header[124:136])
    if size < 0:
        raise _wrong(where, "a header in it has no valid size")
    return size


def _number(field: bytes) -> int:
    """Octal, or base 256 as GNU writes what is too large for octal; -1 for anything else."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        return value if field[0] == 0x80 and value < 2**63 else -1
    digits = field.strip(b" \0")
    if not digits:
        return 0
    return int(digits, 8) if all(digit in b"01234567" for digit in digits) else -1


def _decimal(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _wrong(where, f"a size in it is {text[:40]!r}")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _wrong(where: str, why: str) -> UsageError:
    return UsageError("invalid-input", f"not an archive that can be read: {why}", where=where)
