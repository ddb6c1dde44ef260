"""The modules that a Go program was built from, as the linker wrote them into it (Go's `debug/buildinfo`).

Read from the front of a stream: the ELF header and program headers, then the writable segment, in which the
linker puts `.go.buildinfo`. Programs built before Go 1.18, or not for 64-bit ELF, say nothing here.
"""

import re
import struct
from typing import Final

from isthmus.report.packages.databases import MAX_PACKAGES
from isthmus.report.packages.model import Package, text
from isthmus.transfer.archive.opening import Stream, read_exactly
from isthmus.transfer.archive.tar import Member

LEAST: Final = 256 * 1024
"""Bytes; no Go program is smaller."""

_HEAD: Final = 4096
_MAX_SEGMENT: Final = 16 * 1024 * 1024
_MAGIC: Final = b"\xff Go buildinf:"
_LOAD, _WRITABLE = 1, 2
_INLINE: Final = 2
_MARK: Final = 16
_MODULE: Final = re.compile(r"[a-zA-Z0-9._~+!/-]{1,300}", re.ASCII)
_VERSION: Final = re.compile(r"v[0-9][a-zA-Z0-9.+-]{0,100}", re.ASCII)


def go_modules(member: Member, stream: Stream) -> list[Package]:
    """The modules of a program whose bytes the stream gives next; nothing where it is not one of Go."""
    head = read_exactly(stream, min(member.size, _HEAD), "layer")
    places = _writable(head, member.size)
    if not places:
        return []
    offset, length = places
    stream.skip(offset - len(head))
    data = read_exactly(stream, min(length, _MAX_SEGMENT, member.size - offset), "layer")
    at = data.find(_MAGIC)
    while at >= 0 and at % 16 and (at + offset) % 16:  # it is aligned; elsewhere it is a constant in a program
        at = data.find(_MAGIC, at + 1)
    return _parse(data[at:]) if at >= 0 else []


def _writable(head: bytes, size: int) -> tuple[int, int] | None:
    """Where the first writable segment is in the file, and how long (ELF-64, little endian)."""
    if head[:6] != b"\x7fELF\x02\x01" or len(head) < 64:
        return None
    (table,) = struct.unpack_from("<Q", head, 32)
    entry, count = struct.unpack_from("<HH", head, 54)
    for number in range(min(count, 64)):
        at = table + number * entry
        if entry < 56 or at + 56 > len(head):
            return None
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        if kind == _LOAD and flags & _WRITABLE and length and len(head) <= offset < size:
            return offset, length
    return None


def _parse(data: bytes) -> list[Package]:
    """Behind 32 bytes of header: the version of Go and the module list, each with its length before it."""
    if len(data) < 32 or not data[15] & _INLINE:
        return []
    version, rest = _counted(data[32:])
    modules, _ = _counted(rest)
    found = {}
    if version.startswith(b"go1"):
        found["stdlib"] = Package(
            "golang", "stdlib", text(version[2:].partition(b" ")[0].decode("ascii", "replace"))
        )
    last = ""
    for line in modules[_MARK:-_MARK].decode("utf-8", "replace").splitlines()[:MAX_PACKAGES]:
        kind, _, words = line.partition("\t")
        name, _, tail = words.partition("\t")
        release = tail.partition("\t")[0]
        if kind not in ("mod", "dep", "=>") or not _MODULE.fullmatch(name):
            continue
        if kind == "=>":
            found.pop(last, None)
        last = name
        found[name] = Package("golang", name, release if _VERSION.fullmatch(release) else "")
    return list(found.values())


def _counted(data: bytes) -> tuple[bytes, bytes]:
    """A string with its length in front (LEB128), and what is behind it."""
    length = shift = 0
    for place, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[place + 1 : place + 1 + length], data[place + 1 + length :]
    return b"", b""
