"""From the records of volumes to verified blobs in a staging directory.

Whatever is given is verified, even where its blobs are here already; only what this staging directory saw
intact before, in the same unchanged file, is not read again. Not here: the store's own change (`unpacking`).
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.bundle.layout import Kind, RecordHeader
from isthmus.bundle.manifest import BundleManifest, Segment
from isthmus.bundle.medium import MediumFile, failed, open_regular, write_file
from isthmus.bundle.overlap import Ring, overlapped
from isthmus.bundle.problems import Problem
from isthmus.bundle.verifying import DamageReport
from isthmus.bundle.volume import Readable, Record, Volume, payload
from isthmus.errors import UsageError, VerificationError
from isthmus.progress import Meter
from isthmus.store import Staging, Store

_PARITY = "parity"


class Stage:
    """A staging directory, and the store that it is for, if there is one already."""

    def __init__(
        self, staging: Staging, store: Store | None, manifest: BundleManifest, meter: Meter, ring: Ring
    ) -> None:
        self.staging = staging
        self.meter = meter
        self.manifest = manifest
        self._store = store
        self._ring = ring
        self._seen: set[int] = set()

    def has(self, number: int) -> bool:
        """Whether a blob of the manifest is here or in the store."""
        if number in self._seen:
            return True
        digest, size = self.manifest.blobs[number]
        found = (self._store is not None and self._store.blob_size(digest) == size) or self.staging.have(
            digest, size
        )
        if found:
            self._seen.add(number)
        return found

    def lacking(self) -> set[int]:
        """The blobs that are neither here nor in the store; one whose last piece is here is completed first."""
        return {
            number for number in range(len(self.manifest.blobs)) if not (self.has(number) or self._finish(number))
        }

    def _finish(self, number: int) -> bool:
        try:
            return self.staging.complete(*self.manifest.blobs[number])
        except VerificationError:
            return False  # what was staged has rotted, and is forgotten

    def holds(self, record: Record) -> bool:
        """Whether nothing of a record is lacking."""
        header, segment = record.placed.header, record.placed.segment
        if header is None or segment is None or self.has(segment.blob):
            return True
        start, end = header.offset, header.offset + header.length
        holes = self.staging.missing(header.digest, header.total)
        return bool(header.length) and all(hole_end <= start or hole >= end for hole, hole_end in holes)

    def path_of(self, number: int) -> Path | None:
        """Where a whole blob is, in the store or here."""
        digest, size = self.manifest.blobs[number]
        if self._store is not None and self._store.blob_size(digest) == size:
            return self._store.blob_path(digest)
        return self.staging.blobs.path(digest) if self.staging.have(digest, size) else None

    def kept_parity(self, row: int) -> Path | None:
        """The payload of the parity record that begins with this row, if it was kept."""
        path = self.staging.path / _PARITY / str(row)
        return path if path.exists() else None

    def keep_parity(self, segment: Segment, pieces: Iterable[memoryview]) -> None:
        """Keep the payload of a parity record. Raises what reading it raises, and then keeps nothing."""
        write_file(self.staging.path / _PARITY / str(segment.blob), pieces)

    def take_from_stream(self, file: Readable, record: Record) -> None:
        """As `take`, but parity is kept too, since it will not be read again."""
        segment = record.placed.segment
        if segment is not None and segment.kind == Kind.PARITY and self.manifest.parity:
            self.keep_parity(segment, self.meter.through(payload(file, record, self._ring)))
        else:
            self.take(file, record)

    def take(self, file: Readable, record: Record) -> None:
        """Read, verify and keep one record. Raises VerificationError where it is damaged."""
        for _ in self.taking(file, record):
            pass

    def taking(self, file: Readable, record: Record) -> Generator[None]:
        """As `take`, with a rest when all is read: what comes then may wait for hashes of other records."""
        header = record.placed.header
        if header is None or self.holds(record):
            for _ in self.meter.through(payload(file, record, self._ring)):
                pass
        elif record.is_whole:
            yield from self._take_whole(file, record, header)
        else:
            self._take_segment(file, record, header)

    def _take_whole(self, file: Readable, record: Record, header: RecordHeader) -> Generator[None]:
        """A whole blob: its writer hashes it, and that proves the record too.

        What a killed run left is gone on from; where that turns out to be no beginning of the blob, the
        writer has forgotten it, and the record is read once more.
        """
        for attempt in (1, 2):
            with self.staging.write_blob(header.digest, header.total, self._ring) as writer:
                begun = writer.offset > 0
                try:
                    pieces = payload(file, record, self._ring, skip=writer.offset, hashed=False)
                    for piece in self.meter.through(pieces):
                        writer.write(piece)
                    yield
                    writer.commit()
                except VerificationError:
                    if attempt == 2 or not begun:
                        raise
                else:
                    return

    def _take_segment(self, file: Readable, record: Record, header: RecordHeader) -> None:
        place = (header.digest, header.total, header.offset, header.length)
        with self.staging.write_at(*place, self._ring) as writer:
            for piece in self.meter.through(payload(file, record, self._ring)):
                writer.write(piece)
            writer.commit()
        try:
            self.staging.complete(header.digest, header.total)
        except VerificationError as error:
            raise VerificationError(
                "damaged-volume", f"the parts of {header.digest} are intact, but do not make up the blob"
            ) from error


class Seen:
    """Which of a volume's records were seen intact: as many of the first as its file has bytes."""

    def __init__(self, directory: Path, volume: Volume, file: MediumFile) -> None:
        self._path = directory / f"{volume.number}-{file.identity}"
        try:
            directory.mkdir(exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, 0o644)
            self.before = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise failed(error, self._path) from error
        self._in_a_row = 0
        self._unbroken = True

    def note(self, *, intact: bool) -> None:
        """Take note of the next record."""
        self._unbroken = self._unbroken and intact
        self._in_a_row += 1
        if self._unbroken and self._in_a_row > self.before:
            try:
                os.write(self._descriptor, b".")
            except OSError as error:
                raise failed(error, self._path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        os.close(self._descriptor)


def payload_bytes(volumes: Sequence[Volume]) -> int:
    """What there is to read."""
    return sum(record.placed.length for volume in volumes for record in volume.records())


def stage_volumes(volumes: Sequence[Volume], stage: Stage) -> list[Problem]:
    """Stage everything that is intact; what is damaged is noted and does not stop the rest."""
    done = 0
    problems: list[Problem] = []
    for volume in volumes:
        damage = DamageReport(volume)
        try:
            with open_regular(volume.path) as file, Seen(stage.staging.path / "seen", volume, file) as seen:
                for record, wrong in overlapped(_taken(stage, file, volume, seen.before)):
                    seen.note(intact=wrong is None)
                    if wrong is not None:
                        damage.add(record, wrong.message)
        except UsageError as error:
            damage.whole(error.message)
        done += sum(record.placed.length for record in volume.records())
        stage.meter.reach(done)
        problems.extend(damage.problem())
    return problems


def _taken(stage: Stage, file: Readable, volume: Volume, seen: int) -> Iterator[tuple[Record, Generator[None]]]:
    """A work for each record; the first that were `seen` before and are still held are not read again."""
    stage.meter.add(0, volume.path.name)
    for number, record in enumerate(volume.records()):
        yield record, _nothing() if number < seen and stage.holds(record) else stage.taking(file, record)


def _nothing() -> Generator[None]:
    yield from ()
