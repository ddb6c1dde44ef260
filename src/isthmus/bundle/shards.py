"""Reading data shards and parity cells wherever they are, damaged volumes included; their checksums decide.

Not here: what to do when too many are lost (`repair`).
"""

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Protocol

from isthmus.bundle.layout import FOOTER_SIZE, RECORD_HEADER_SIZE, Kind, parse_footer
from isthmus.bundle.manifest import placed_records
from isthmus.bundle.medium import MediumFile, open_regular
from isthmus.bundle.parity import Geometry, Piece
from isthmus.bundle.problems import Problem
from isthmus.bundle.volume import Contents, Volume
from isthmus.errors import IsthmusError

_CRC = Struct(">I")


class Kept(Protocol):
    """What is verified already, in a staging directory or the store."""

    def read_kept(self, blob: int, offset: int, view: memoryview) -> bool:
        """Fill the view from a blob of the manifest; False where that is not here."""

    def kept_parity(self, row: int) -> Path | None:
        """The payload of the parity record whose first row this is, if it was kept."""


@dataclass
class Shards:
    """The shards of a bundle, as far as they can be had. `close` closes the files."""

    contents: Contents
    geometry: Geometry
    paths: Mapping[int, Sequence[Path]]
    kept: Kept | None
    _files: dict[Path, MediumFile | None] = field(default_factory=dict)
    _places: dict[int, dict[int, list[tuple[int, int, int]]]] = field(default_factory=dict)

    def could_have(self, column: int) -> bool:
        """Whether a file is there that may have the column's shards."""
        return bool(self.paths.get(self.geometry.columns[column].volume))

    def rows_there(self) -> int:
        """How many rows of parity are in files that are there, damaged or not."""
        count = 0
        for volume in range(self.geometry.parity.volumes + 1, len(self.geometry.tables) + 1):
            first, rows = self.geometry.rows_in(volume)
            if self.paths.get(volume) or (self.kept and self.kept.kept_parity(first)):
                count += rows
        return count

    def data(self, stripe: int, column: int, checksum: bytes, view: memoryview) -> bool:
        """Fill the view with a data shard; False where it cannot be had intact."""
        pieces = list(self.geometry.pieces(stripe, column))
        end = pieces[-1].at + pieces[-1].length if pieces else 0
        view[end:] = bytes(len(view) - end)
        volume = self.geometry.columns[column].volume
        sources: list[Path | None] = [*self.paths.get(volume, ())]
        for path in sources or [None]:
            for prefer_kept in (True, False):
                read = all(self._read(piece, volume, path, view, prefer_kept) for piece in pieces)
                if read and _CRC.pack(zlib.crc32(view)) == checksum:
                    return True
        return False

    def unchecked(self, blob: int, offset: int, view: memoryview) -> bool:
        """Fill the view from a blob where its bytes should be; whether they are right, somebody else must find."""
        filled, end = 0, offset + len(view)
        for volume in range(1, self.geometry.parity.volumes + 1):
            for begin, length, position in self._records(volume).get(blob, ()):
                low, high = max(begin, offset), min(end, begin + length)
                if low < high and self._from_any(
                    volume, view[low - offset : high - offset], position + low - begin
                ):
                    filled += high - low
        return filled == len(view)

    def _from_any(self, volume: int, view: memoryview, position: int) -> bool:
        files = (self._open(path) for path in self.paths.get(volume, ()))
        return any(file is not None and _into(file, view, position) for file in files)

    def cell(self, stripe: int, row: int) -> tuple[bytes, memoryview] | None:
        """The stripe's table of checksums and a parity shard, if they are intact."""
        volume, start = self.geometry.cell_place(stripe, row)
        size, table_size = self.geometry.cell_size, self.geometry.table_size
        for file, begin in self._parity_files(volume):
            view = memoryview(bytearray(size))
            if _into(file, view, begin + start) and _CRC.pack(zlib.crc32(view[4:])) == view[:4]:
                return bytes(view[4:table_size]), view[table_size:]
        return None

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            if file is not None:
                file.close()

    def _read(self, piece: Piece, volume: int, path: Path | None, view: memoryview, prefer_kept: bool) -> bool:
        target = view[piece.at : piece.at + piece.length]
        if prefer_kept and self.kept and self.kept.read_kept(piece.blob, piece.offset, target):
            return True
        file = self._open(path) if path else None
        if file is None:
            return False
        for offset, length, position in self._records(volume).get(piece.blob, ()):
            if offset <= piece.offset < offset + length:
                return _into(file, target, position + piece.offset - offset)
        return False

    def _parity_files(self, volume: int) -> Iterable[tuple[MediumFile, int]]:
        (placed,) = [p for p in placed_records(self.contents.manifest, self.contents.raw, volume) if p.segment]
        for path in self.paths.get(volume, ()):
            if file := self._open(path):
                yield file, placed.position + RECORD_HEADER_SIZE
        kept = self.kept.kept_parity(self.geometry.rows_in(volume)[0]) if self.kept else None
        if kept and (file := self._open(kept)):
            yield file, 0

    def _records(self, volume: int) -> dict[int, list[tuple[int, int, int]]]:
        """For each blob of a volume its records: offset, length, and where the payload begins."""
        if volume not in self._places:
            found: dict[int, list[tuple[int, int, int]]] = {}
            for placed in placed_records(self.contents.manifest, self.contents.raw, volume):
                if placed.segment and placed.segment.kind == Kind.BLOB:
                    entry = (placed.segment.offset, placed.length, placed.position + RECORD_HEADER_SIZE)
                    found.setdefault(placed.segment.blob, []).append(entry)
            self._places[volume] = found
        return self._places[volume]

    def _open(self, path: Path) -> MediumFile | None:
        if path not in self._files:
            try:
                self._files[path] = open_regular(path)
            except IsthmusError:
                self._files[path] = None
        return self._files[path]


def paths_by_volume(
    contents: Contents, volumes: Iterable[Volume], problems: Iterable[Problem]
) -> dict[int, list[Path]]:
    """The files that may have something of each volume: the intact ones, then those that are damaged."""
    result: dict[int, list[Path]] = {}
    for volume in volumes:
        result.setdefault(volume.number, []).append(volume.path)
    for problem in problems:
        if problem.code != "damaged-volume":
            continue
        number = problem.volume or _number_in_footer(Path(problem.file), len(contents.manifest.volumes))
        path = Path(problem.file)
        if number and path not in result.get(number, ()):
            result.setdefault(number, []).append(path)
    return result


def _number_in_footer(path: Path, volumes: int) -> int | None:
    """The number of a volume whose beginning is damaged."""
    try:
        with open_regular(path) as file:
            number = parse_footer(file.at(max(0, file.size - FOOTER_SIZE), FOOTER_SIZE)).volume
    except IsthmusError:
        return None
    return number if 1 <= number <= volumes else None


def _into(file: MediumFile, view: memoryview, position: int) -> bool:
    try:
        return file.into(view, position) == len(view)
    except IsthmusError:
        return False  # the medium cannot be read there


def read_at(path: Path, offset: int, view: memoryview) -> bool:
    """Fill the view from a file; False where that is not there or too short."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        done = 0
        while done < len(view):
            count = os.preadv(descriptor, [view[done:]], offset + done)
            if not count:
                return False
            done += count
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
