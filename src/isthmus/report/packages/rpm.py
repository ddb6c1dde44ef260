"""RPM's database where it is SQLite (`rpmdb.sqlite`, RPM 4.16 and later): the headers of installed packages.

The older Berkeley DB and NDB are only named as found. Not here: signatures of packages.
"""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from isthmus.report.packages.databases import MAX_PACKAGES
from isthmus.report.packages.model import Package, text

_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE = 1000, 1001, 1002, 1003, 1014, 1022, 1044
_STRINGS: Final = (6, 8, 9)
_INT32: Final = 4
_MAX_TAGS: Final = 10_000
_MAX_STEPS: Final = 2_000


class NotReadError(ValueError):
    """The database is damaged, or not what its name says."""


def rpm(data: bytes) -> list[Package]:
    """The packages in a SQLite database; raises NotReadError."""
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(data)
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.set_progress_handler(_Steps(), 100_000)  # a hostile schema must not compute for ever
            kind = connection.execute("SELECT type FROM sqlite_master WHERE name='Packages'").fetchone()
            if kind != ("table",):
                raise NotReadError("it has no table of packages")
            rows = connection.execute("SELECT blob FROM Packages LIMIT ?", (MAX_PACKAGES,))
            return [found for (blob,) in rows if isinstance(blob, bytes) for found in _package(blob)]
    except (sqlite3.Error, MemoryError, OverflowError, AttributeError) as error:  # SQLite may lack deserialize
        raise NotReadError(str(error)[:200]) from error


class _Steps:
    """Stops SQLite after so many calls."""

    def __init__(self) -> None:
        self._left = _MAX_STEPS

    def __call__(self) -> int:
        self._left -= 1
        return int(self._left < 0)


def _package(blob: bytes) -> Iterator[Package]:
    """A header (rpm, "Header format"): counts, an index of tags, and the data that it points into."""
    if len(blob) < 8:
        return
    count, _ = struct.unpack_from(">II", blob)
    start = 8 + 16 * count
    if count > _MAX_TAGS or start > len(blob):
        return
    found: dict[int, str] = {}
    for number in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", blob, 8 + 16 * number)
        if tag not in (_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE) or start + offset >= len(blob):
            continue
        if kind in _STRINGS:
            found[tag] = text(
                blob[start + offset : start + offset + 4096].partition(b"\0")[0].decode("utf-8", "replace")
            )
        elif kind == _INT32 and start + offset + 4 <= len(blob):
            found[tag] = str(struct.unpack_from(">I", blob, start + offset)[0])
    if found.get(_NAME) and found.get(_VERSION):
        epoch = f"{found[_EPOCH]}:" if found.get(_EPOCH, "0") != "0" else ""
        version = f"{epoch}{found[_VERSION]}-{found.get(_RELEASE, '')}".rstrip("-")
        yield Package(
            "rpm", found[_NAME], version, found.get(_ARCH, ""), found.get(_LICENSE, ""), found.get(_SOURCE, "")
        )
