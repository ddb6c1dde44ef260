"""Which shards the parity is over, and where they and its cells are: all of it follows from the manifest.

The payloads of each data volume are cut into shards, shard `i` of a volume is in stripe `i` modulo the number of
stripes, and every stripe has the same number of parity cells. So a damaged sector costs a stripe one shard, and
a lost volume costs each stripe the same. Not here: arithmetic (`galois`), reading (`shards`), repair (`repair`).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

from isthmus.bundle.layout import Kind, RecordHeader, volume_size
from isthmus.bundle.manifest import BundleManifest, Parity, Segment, VolumeTable
from isthmus.errors import UsageError
from isthmus.oci import Digest

CODE: Final = "cauchy-256"
_SMALLEST_SHARD: Final = 4096
_LARGEST_SHARD: Final = 256 * 1024
_MOST_SMALL_SHARDS: Final = 2**20
_COLUMNS: Final = 100
_MOST_COLUMNS: Final = 200
_FEW_VOLUMES: Final = 25
_SHARDS_BEFORE_LARGER: Final = 2048
NO_DIGEST: Final = Digest("sha256:" + "0" * 64)


class Piece(NamedTuple):
    """A part of a shard: which blob, where in it, where in the shard, how long."""

    blob: int
    offset: int
    at: int
    length: int


class Column(NamedTuple):
    """Every shard of a stripe is in a column: the volume it is in, and the number of its first shard there."""

    volume: int
    first: int


@dataclass(frozen=True)
class Geometry:
    """The parity of a manifest, laid out."""

    parity: Parity
    tables: tuple[VolumeTable, ...]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns, by volume."""
        stripes = self.parity.stripes
        return tuple(
            Column(volume, first)
            for volume in range(1, self.parity.volumes + 1)
            for first in range(0, self.shards_in(volume), stripes)
        )

    @cached_property
    def first_column(self) -> dict[int, int]:
        """The first column of each volume that has any."""
        result: dict[int, int] = {}
        for number, column in enumerate(self.columns):
            result.setdefault(column.volume, number)
        return result

    @property
    def table_size(self) -> int:
        """Bytes of the checksums in front of a cell's shard: its own, and those of the stripe's data shards."""
        return 4 + 4 * len(self.columns)

    @property
    def cell_size(self) -> int:
        """Bytes of a parity shard with its checksums."""
        return self.table_size + self.parity.shard

    def payload_size(self, volume: int) -> int:
        """The bytes of blobs in a volume."""
        return self._ends(volume)[-1]

    def shards_in(self, volume: int) -> int:
        """How many shards a data volume has; what the last one lacks counts as zeros."""
        return -(-self.payload_size(volume) // self.parity.shard)

    def place(self, volume: int, position: int) -> tuple[int, int]:
        """Stripe and column of a byte of a volume's payloads."""
        row, stripe = divmod(position // self.parity.shard, self.parity.stripes)
        return stripe, self.first_column[volume] + row

    def pieces(self, stripe: int, column: int) -> Iterator[Piece]:
        """What a data shard consists of."""
        volume, first = self.columns[column]
        start = (first + stripe) * self.parity.shard
        end = min(start + self.parity.shard, self.payload_size(volume))
        records, ends = self._blobs(volume), self._ends(volume)
        position = start
        while position < end:
            number = bisect_right(ends, position) - 1
            record = records[number]
            inside = position - ends[number]
            length = min(end - position, record.length - inside)
            yield Piece(record.blob, record.offset + inside, position - start, length)
            position += length

    def run_end(self, stripe: int, column: int, piece: Piece) -> int:
        """Where in the blob the bytes end that follow a piece within its record and column."""
        volume, first = self.columns[column]
        position = (first + stripe) * self.parity.shard + piece.at
        ends = self._ends(volume)
        end = min(ends[bisect_right(ends, position)], (first + self.parity.stripes) * self.parity.shard)
        return piece.offset + end - position

    def cell_place(self, stripe: int, row: int) -> tuple[int, int]:
        """The volume of a parity cell, and where in the payload of its record it begins."""
        for volume in range(self.parity.volumes + 1, len(self.tables) + 1):
            first, rows = self.rows_in(volume)
            if first <= row < first + rows:
                return volume, (stripe * rows + row - first) * self.cell_size
        raise AssertionError("a row beyond the parity")

    def rows_in(self, volume: int) -> tuple[int, int]:
        """The first row that a parity volume has, and how many."""
        (record,) = self.tables[volume - 1].records
        return record.blob, record.length // (self.parity.stripes * self.cell_size)

    def _blobs(self, volume: int) -> list[Segment]:
        return [r for r in self.tables[volume - 1].records if r.kind == Kind.BLOB and r.length]

    def _ends(self, volume: int) -> list[int]:
        known = self._known_ends.get(volume)
        if known is None:
            known = list(accumulate((r.length for r in self._blobs(volume)), initial=0))
            self._known_ends[volume] = known
        return known

    @cached_property
    def _known_ends(self) -> dict[int, list[int]]:
        return {}


def geometry_of(manifest: BundleManifest) -> Geometry | None:
    """The layout of a manifest's parity, if it has any."""
    return Geometry(manifest.parity, manifest.volumes) if manifest.parity else None


def parity_fault(manifest: BundleManifest) -> str:
    """What contradicts itself in a manifest's parity, or nothing. Only sums, so that huge numbers cost nothing."""
    parity = manifest.parity
    assert parity is not None
    tables, data = manifest.volumes, parity.volumes
    if parity.code != CODE or data >= len(tables):
        return "the manifest's parity is of another code, or over volumes that there are not"
    wrong = any(
        (record.kind == Kind.PARITY) != (n > data) for n, t in enumerate(tables, 1) for record in t.records
    )
    if wrong or any(len(table.records) != 1 for table in tables[data:]):
        return "the manifest's parity is not in volumes of its own"
    geometry = Geometry(parity, tables)
    shards = sum(geometry.shards_in(volume) for volume in range(1, data + 1))
    most = max(geometry.shards_in(volume) for volume in range(1, data + 1))
    if shards > _MOST_SMALL_SHARDS and parity.shard < _LARGEST_SHARD:
        return "the manifest's parity is over too many shards"
    if not shards or parity.stripes > most or most > 256 * parity.stripes:
        return "the manifest's parity has an impossible number of stripes"
    if len(geometry.columns) + parity.rows > 256:
        return "the manifest's parity has more shards in a stripe than its code"
    reached, row = 0, parity.stripes * geometry.cell_size
    for (record,) in (table.records for table in tables[data:]):
        if record.blob != reached or record.offset or not record.length or record.length % row:
            return "the rows of the manifest's parity do not follow each other"
        reached += record.length // row
    return "" if reached == parity.rows else "the manifest's parity has other rows than it says"


def record_header(segment: Segment, rows: int) -> RecordHeader:
    """The header of a parity record; its digest is zeros, since no blob is in it."""
    return RecordHeader(Kind.PARITY, NO_DIGEST, segment.blob, rows, segment.length)


def with_parity(
    tables: Sequence[VolumeTable], percent: float, limit: int | None, manifest_size: int
) -> tuple[Parity | None, tuple[VolumeTable, ...]]:
    """The volumes with those of the parity behind them; nothing is added where no blob is carried.

    Raises UsageError `invalid-size` where there are more volumes than the code has symbols.
    """
    payloads = [sum(record.length for record in table.records) for table in tables]
    total = sum(payloads)
    if not total:
        return None, tuple(tables)
    most = min(_COLUMNS if len(tables) <= _FEW_VOLUMES else _MOST_COLUMNS, int(25500 / (100 + percent)))
    if len(tables) > most:
        raise _too_many(len(tables), most)
    shard = _SMALLEST_SHARD
    while shard < _LARGEST_SHARD and total > shard * _SHARDS_BEFORE_LARGER:
        shard *= 2
    each = most // len(tables)
    stripes = -(-max(-(-size // shard) for size in payloads) // each)
    draft = Geometry(Parity(CODE, 1, shard, stripes, len(tables)), tuple(tables))
    largest = max(-(-draft.shards_in(volume) // stripes) for volume in range(1, len(tables) + 1))
    whole_volumes = int(len(tables) * percent // 100)
    rows = max(1, -int(-len(draft.columns) * percent // 100), whole_volumes * largest)
    parity = Parity(CODE, rows, shard, stripes, len(tables))
    row_size = stripes * draft.cell_size
    at_once = rows if limit is None else (limit - volume_size([manifest_size, 0])) // row_size
    if at_once < 1:
        raise _too_many(len(tables), most // 2)
    added = []
    for first in range(0, rows, at_once):
        record = Segment(Kind.PARITY, first, 0, min(at_once, rows - first) * row_size)
        added.append(VolumeTable((record,), volume_size([manifest_size, record.length])))
    return parity, (*tables, *added)


def _too_many(count: int, most: int) -> UsageError:
    return UsageError(
        "invalid-size",
        f"parity cannot be made over {count} volumes; about {most} are the most",
        hint="choose larger volumes, or less parity",
    )
