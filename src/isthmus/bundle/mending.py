"""Parity at the site: what unpacking lacks is rebuilt in the staging directory from volumes and what is staged.

Parity that came alone is kept in the staging directory, so that volumes may be given one at a time. Not here:
how shards are rebuilt (`repair`).
"""

from collections.abc import Iterable
from pathlib import Path

from isthmus.bundle.layout import Kind
from isthmus.bundle.medium import open_regular
from isthmus.bundle.overlap import Ring
from isthmus.bundle.parity import Geometry, Piece, geometry_of
from isthmus.bundle.problems import Problem
from isthmus.bundle.repair import Ranges, repair
from isthmus.bundle.salvage import salvage
from isthmus.bundle.shards import Shards, paths_by_volume, read_at
from isthmus.bundle.stage import Stage
from isthmus.bundle.volume import Contents, Volume, payload
from isthmus.errors import IsthmusError
from isthmus.store.pieces import SegmentWriter


def mend(contents: Contents, volumes: Iterable[Volume], problems: Iterable[Problem], stage: Stage) -> int:
    """Rebuild what is lacking, as far as parity allows; how many blobs that completed. Raises `io-failed`."""
    geometry = geometry_of(contents.manifest)
    lacking = stage.lacking() if geometry else set()
    if geometry is None or not lacking:
        return 0
    wanted = {number: stage.staging.missing(*contents.manifest.blobs[number]) for number in lacking}
    paths = paths_by_volume(contents, volumes, problems)
    shards = Shards(contents, geometry, paths, Staged(stage))
    runs = _Runs(stage, geometry, wanted)
    try:
        repair(shards, wanted, runs.write)
        runs.close()
        salvage(stage, shards, Staged(stage))
    finally:
        shards.close()
        runs.close()
    return len(lacking) - len(stage.lacking())


def keep_parity(volumes: Iterable[Volume], stage: Stage) -> None:
    """Copy the parity of intact volumes into the staging directory, for when more is there. Raises `io-failed`."""
    ring = Ring()
    for volume in volumes:
        for record in volume.records():
            segment = record.placed.segment
            if segment and segment.kind == Kind.PARITY and not stage.kept_parity(segment.blob):
                try:
                    with open_regular(volume.path) as file:
                        stage.keep_parity(segment, payload(file, record, ring))
                except IsthmusError as error:
                    if error.code == "io-failed":
                        raise


class Staged:
    """What the stage and its store have of the blobs, whole or in part."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._holes: dict[int, Ranges] = {}

    def read_kept(self, blob: int, offset: int, view: memoryview) -> bool:
        """Fill the view; False where that is not here."""
        stage = self._stage
        digest, size = stage.manifest.blobs[blob]
        if path := stage.path_of(blob):
            return read_at(path, offset, view)
        if blob not in self._holes:
            self._holes[blob] = stage.staging.missing(digest, size)
        if any(start < offset + len(view) and end > offset for start, end in self._holes[blob]):
            return False
        return read_at(stage.staging.path / "parts" / f"{digest.algorithm}-{digest.hex}", offset, view)

    def kept_parity(self, row: int) -> Path | None:
        """The parity record that begins with this row."""
        return self._stage.kept_parity(row)


class _Runs:
    """Writers of what is rebuilt: a column's shards follow each other in a blob, so that each run is one piece."""

    def __init__(self, stage: Stage, geometry: Geometry, wanted: dict[int, Ranges]) -> None:
        self._stage = stage
        self._geometry = geometry
        self._wanted = wanted
        self._open: dict[int, tuple[int, int, SegmentWriter]] = {}

    def write(self, stripe: int, column: int, piece: Piece, shard: memoryview) -> None:
        """Write what is wanted of a piece of a shard."""
        for start, end in self._wanted.get(piece.blob, ()):
            low, high = max(start, piece.offset), min(end, piece.offset + piece.length)
            if low < high:
                at = piece.at + low - piece.offset
                run_end = min(end, self._geometry.run_end(stripe, column, piece))
                self._put(column, piece.blob, low, run_end, shard[at : at + high - low])

    def _put(self, column: int, blob: int, offset: int, run_end: int, data: memoryview) -> None:
        known, end, writer = self._open.get(column, (-1, 0, None))
        if writer is None or known != blob or writer.offset != offset:
            if writer is not None:
                _end(writer)
            end = run_end
            writer = self._stage.staging.write_at(*self._stage.manifest.blobs[blob], offset, end - offset)
            self._open[column] = (blob, end, writer)
        if writer.offset == offset:
            writer.write(data)
        if writer.offset == end:
            writer.commit()
            writer.__exit__(None, None, None)
            del self._open[column]

    def close(self) -> None:
        """Close what is open; of runs that did not come to their end, what there is counts."""
        for _, _, writer in self._open.values():
            _end(writer)
        self._open.clear()


def _end(writer: SegmentWriter) -> None:
    """Every byte written was right, as its stripe's checksums say: keep them, even if more should have come."""
    with writer:
        writer.cut()
        writer.commit()
