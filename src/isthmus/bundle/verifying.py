"""`verify`: reads every byte of the given volumes, writes nothing, and says what is wrong or missing.

Not here: repairing (`repair`; here it is only tried, and nothing written), and checking the images themselves.
"""

import hashlib
import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from isthmus.bundle.compared import check_beside
from isthmus.bundle.keys import PublicKey
from isthmus.bundle.layout import Kind
from isthmus.bundle.medium import open_regular
from isthmus.bundle.overlap import Ring, overlapped
from isthmus.bundle.problems import MissingVolume, Problem, error_for
from isthmus.bundle.spans import Spans
from isthmus.bundle.volume import Readable, Record, Volume, damaged_record, payload
from isthmus.bundle.volumeset import VolumeSet, gather
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.progress import Meter, Progress, silent

LANES: Final = 2
"""Hashes beside reading: of the payload, and of a blob that comes in several."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `references` are those that cannot be had from the intact volumes alone.

    `complete` says that nothing is damaged and no more than parity is missing; `repairable` that parity makes up
    for all that is damaged or missing.

    `lost` are those of `references` that parity does not rebuild either.

    `signed_by` is the given key that verified, `claimed_by` whose signatures are there, verified or not.
    """

    bundle: str | None
    complete: bool
    missing: tuple[MissingVolume, ...]
    damaged: tuple[Problem, ...]
    repairable: bool
    signed_by: str | None
    claimed_by: tuple[str, ...]
    references: tuple[str, ...]
    lost: tuple[str, ...] = ()

    def error(self) -> IsthmusError | None:
        """The error that this amounts to: status 4 for damage, 3 for missing volumes alone, None if complete."""
        return error_for(self.damaged, () if self.complete else self.missing)


def verify(
    paths: Iterable[str | os.PathLike[str]],
    public_keys: Sequence[PublicKey] = (),
    progress: Progress | None = None,
) -> Verification:
    """Check volumes, or directories of volumes, of one bundle. Progress counts bytes of volumes.

    Raises UsageError `file-not-found` or `invalid-input` (a later version), UnreachableError `io-failed`.
    """
    given = gather(paths, public_keys)
    damaged, blobs = _read_all(given, progress)
    damaged = [*given.problems, *damaged]
    lost = _lost(given, damaged, blobs)
    if given.contents:
        damaged += check_beside((volume.path for volume in given.in_order), given.contents.manifest)
    return _result(given, damaged, lost)


def verify_stream(
    source: BinaryIO, public_keys: Sequence[PublicKey] = (), progress: Progress | None = None
) -> Verification:
    """Check volumes that come one after the other from a pipe or a tape, as `verify` does.

    Raises VerificationError where the stream cannot be followed any more, or is not signed as required.
    """
    from isthmus.bundle.streaming import read_stream, start_stream

    file, first, known = start_stream(source, "-", public_keys)
    meter, spans = Meter(first.manifest.total_bytes(), progress or silent), Spans()
    with Ring(LANES) as ring:

        def take(source: Readable, record: Record) -> None:
            for _ in checking(source, record, spans, ring, meter):
                pass

        return _result(*read_stream(file, first, public_keys, known, take), None)


def _lost(given: VolumeSet, damaged: Sequence[Problem], blobs: set[int]) -> set[int] | None:
    """Which of these blobs, and of those in volumes that are not here intact, are past repair."""
    from isthmus.bundle.parity import geometry_of
    from isthmus.bundle.repair import repair
    from isthmus.bundle.salvage import proven
    from isthmus.bundle.shards import Shards, paths_by_volume

    geometry = geometry_of(given.contents.manifest) if given.contents else None
    if not (damaged or given.missing) or any(problem.code != "damaged-volume" for problem in damaged):
        return None
    if given.contents is None or geometry is None:
        return None
    manifest = given.contents.manifest
    wanted = {number: [(0, manifest.blobs[number].size)] for number in blobs}
    for number in range(1, geometry.parity.volumes + 1):
        for record in manifest.volumes[number - 1].records if number not in given.volumes else ():
            wanted.setdefault(record.blob, []).append((record.offset, record.offset + record.length))
    shards = Shards(given.contents, geometry, paths_by_volume(given.contents, given.in_order, damaged), None)
    try:
        return {number for number in repair(shards, wanted, None).lost if not proven(shards, number)}
    finally:
        shards.close()


def _result(given: VolumeSet, damaged: list[Problem], lost: set[int] | None) -> Verification:
    parity = given.contents.manifest.parity if given.contents else None
    needed = [missing for missing in given.missing if not parity or missing.volume <= parity.volumes]
    names = {name for problem in damaged for name in problem.references}
    names.update(name for volume in given.missing for name in volume.references)
    references = tuple(sorted(names))
    return Verification(
        bundle=given.in_order[0].bundle if given.volumes else None,
        complete=not damaged and not needed,
        missing=tuple(given.missing),
        damaged=tuple(damaged),
        repairable=lost is not None and not lost,
        signed_by=given.signed_by,
        claimed_by=given.claimed_by,
        references=references,
        lost=references if lost is None or not given.contents else given.contents.manifest.affected(lost),
    )


def _read_all(given: VolumeSet, progress: Progress | None) -> tuple[list[Problem], set[int]]:
    meter = Meter(sum(volume.header.size for volume in given.in_order), progress or silent)
    done, spans = 0, Spans()
    problems: list[Problem] = []
    blobs: set[int] = set()
    with Ring(LANES) as ring:
        for volume in given.in_order:
            damage = DamageReport(volume)
            try:
                with open_regular(volume.path) as file:
                    meter.add(0, volume.path.name)
                    works = ((record, checking(file, record, spans, ring, meter)) for record in volume.records())
                    for record, wrong in overlapped(works):
                        if wrong is not None:
                            damage.add(record, wrong.message)
            except UsageError as error:
                damage.whole(error.message)
            done += volume.header.size
            meter.reach(done)
            problems.extend(damage.problem())
            blobs |= damage.blobs()
    return problems, blobs


def checking(file: Readable, record: Record, spans: Spans, ring: Ring, meter: Meter) -> Generator[None]:
    """Check a record, and with the last of a blob's the blob, with a rest when all is read.

    Raises VerificationError `damaged-volume`.
    """
    if record.is_whole:
        whole = hashlib.sha256()
        for piece in meter.through(payload(file, record, ring, hashed=False)):
            ring.feed(whole, piece)
        yield
        ring.settle(whole)
        if whole.digest() != record.checksum:
            raise damaged_record(file, record.placed)
        return
    header = record.placed.header
    blob = spans.begin(header) if header and record.placed.segment else None
    for piece in meter.through(payload(file, record, ring)):
        if blob is not None:
            ring.feed(blob, piece)
    if blob is not None:
        ring.settle(blob)
    if header and blob is not None and not spans.keep(header, blob):
        raise VerificationError(
            "damaged-volume", f"the parts of {header.digest} are intact, but do not make up the blob"
        )


class DamageReport:
    """Collects what is wrong with the records of one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._blobs: set[int] = set()
        self._messages: list[str] = []
        self._whole = False
        self._code = "damaged-volume"

    def add(self, record: Record, message: str) -> None:
        """Note a damaged record."""
        self._messages.append(message)
        if record.placed.segment is None:
            self._whole = True
        elif record.placed.header is not None:
            self._blobs.add(record.placed.segment.blob)

    def whole(self, message: str, code: str = "damaged-volume") -> None:
        """Note that nothing of the volume can be used."""
        self._code = code
        self._messages.append(message)
        self._whole = True

    def blobs(self) -> set[int]:
        """The blobs of which something is damaged."""
        if not self._whole:
            return self._blobs
        records = self._volume.manifest.volumes[self._volume.number - 1].records
        return {record.blob for record in records if record.kind == Kind.BLOB}

    def problem(self) -> list[Problem]:
        """The volume's problem, or nothing."""
        if not self._messages:
            return []
        manifest, number = self._volume.manifest, self._volume.number
        affected = manifest.affected_by_volume(number) if self._whole else manifest.affected(self._blobs)
        more = f" and {len(self._messages) - 1} more records" if len(self._messages) > 1 else ""
        return [Problem(number, str(self._volume.path), self._code, self._messages[0] + more, affected)]
