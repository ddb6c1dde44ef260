"""Rebuilding what is damaged or lost from parity, a stripe at a time; blobs prove it by their own digests.

Not here: reading shards (`shards`), where they are (`parity`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from isthmus.bundle.encoding import checksum_table
from isthmus.bundle.galois import coefficient, combined, inverted, multiply
from isthmus.bundle.layout import Kind
from isthmus.bundle.parity import Geometry, Piece
from isthmus.bundle.shards import Shards

Ranges = list[tuple[int, int]]
Write = Callable[[int, int, Piece, memoryview], None]
"""Takes stripe, column, a piece of a wanted shard, and the shard's bytes."""


@dataclass(slots=True)
class Outcome:
    """Blobs (by number) that cannot be rebuilt, and shards that were."""

    lost: set[int] = field(default_factory=set)
    rebuilt_shards: int = 0


def repair(shards: Shards, wanted: Mapping[int, Ranges], write: Write | None) -> Outcome:
    """Find or rebuild every shard that has anything of the wanted ranges of blobs, and give it to `write`.

    Where it is plain from the files that are there that too much is lost, nothing is read, and all counts as lost.
    """
    geometry, outcome = shards.geometry, Outcome()
    by_stripe = _wanted_columns(geometry, wanted)
    rows_there = shards.rows_there()
    nowhere = sum(1 << column for column in range(len(geometry.columns)) if not shards.could_have(column))
    for columns in by_stripe.values():
        if (columns & nowhere).bit_count() > rows_there:
            outcome.lost |= set(wanted)
            break
    if not outcome.lost:
        for stripe in sorted(by_stripe):
            _Stripe(shards, stripe, _numbers(by_stripe[stripe]), outcome).run(write)
    outcome.lost &= set(wanted)
    return outcome


def _wanted_columns(geometry: Geometry, wanted: Mapping[int, Ranges]) -> dict[int, int]:
    """The columns of each stripe that have anything of the wanted ranges, a bit each."""
    result: dict[int, int] = {}
    size = geometry.parity.shard
    for volume in range(1, geometry.parity.volumes + 1):
        begin = 0
        for record in geometry.tables[volume - 1].records:
            if record.kind != Kind.BLOB:
                continue
            for start, end in wanted.get(record.blob, ()):
                low, high = max(start, record.offset), min(end, record.offset + record.length)
                if low >= high:
                    continue
                first, last = begin + low - record.offset, begin + high - 1 - record.offset
                for shard in range(first // size, last // size + 1):
                    stripe, column = geometry.place(volume, shard * size)
                    result[stripe] = result.get(stripe, 0) | 1 << column
            begin += record.length
    return result


def _numbers(bits: int) -> list[int]:
    """The numbers of the bits that are set, ascending."""
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _blobs(geometry: Geometry, stripe: int, columns: Iterable[int]) -> set[int]:
    return {piece.blob for column in columns for piece in geometry.pieces(stripe, column)}


@dataclass(slots=True)
class _Stripe:
    """One stripe of which some columns are wanted."""

    shards: Shards
    stripe: int
    wanted: list[int]
    outcome: Outcome

    def run(self, write: Write | None) -> None:
        cells = self._cells()
        first = next(cells, None)
        if first is None:
            self._lose(self.wanted)
            return
        _, table, _ = first
        size, count = self.shards.geometry.parity.shard, len(self.shards.geometry.columns)
        whole = memoryview(bytearray(size * count))
        views = [whole[size * column : size * (column + 1)] for column in range(count)]
        bad = [column for column in self.wanted if not self._read(column, table, views[column])]
        self._write(write, [column for column in self.wanted if column not in bad], views)
        if not bad:
            return
        others = set(range(count)) - set(self.wanted)
        all_bad = sorted({*bad, *(c for c in others if not self._read(c, table, views[c]))})
        rows, parity = [first[0]], [first[2]]
        for row, _, shard in cells:
            if len(rows) == len(all_bad):
                break
            rows.append(row)
            parity.append(shard)
        if len(rows) < len(all_bad):
            self._lose(bad)
            return
        self._solve(all_bad, rows, parity, views)
        right = [c for c in bad if checksum_table([views[c]]) == table[4 * c : 4 * c + 4]]
        self.outcome.rebuilt_shards += len(right)
        self._lose([column for column in bad if column not in right])
        self._write(write, right, views)

    def _cells(self) -> Iterator[tuple[int, bytes, memoryview]]:
        for row in range(self.shards.geometry.parity.rows):
            if cell := self.shards.cell(self.stripe, row):
                yield row, *cell

    def _read(self, column: int, table: bytes, view: memoryview) -> bool:
        return self.shards.data(self.stripe, column, table[4 * column : 4 * column + 4], view)

    def _solve(self, bad: list[int], rows: list[int], parity: list[memoryview], views: list[memoryview]) -> None:
        """Fill the views of the bad columns: parity less the good columns' part of it, through the inverse."""
        count = len(views)
        good = [column for column in range(count) if column not in set(bad)]
        part = inverted([[coefficient(row, column, count) for column in bad] for row in rows])
        known = [bytes(coefficient(row, column, count) for column in good) for row in rows]
        matrix = [[*line, *combined(line, known)] for line in part]
        solved = multiply(matrix, [*parity, *(views[column] for column in good)])
        for column, shard in zip(bad, solved, strict=True):
            views[column][:] = shard

    def _write(self, write: Write | None, columns: Iterable[int], views: list[memoryview]) -> None:
        for column in columns if write else ():
            for piece in self.shards.geometry.pieces(self.stripe, column):
                assert write is not None
                write(self.stripe, column, piece, views[column])

    def _lose(self, columns: Iterable[int]) -> None:
        self.outcome.lost |= _blobs(self.shards.geometry, self.stripe, columns)
