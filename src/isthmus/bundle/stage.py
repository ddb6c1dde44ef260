"""From the records of volumes to verified blobs in a staging directory.

What is staged, or in the store already, is not read again. Not here: the store's own change (`unpacking`).
"""

from collections.abc import Sequence

from isthmus.bundle.layout import Kind, RecordHeader
from isthmus.bundle.manifest import BundleManifest
from isthmus.bundle.problems import Problem
from isthmus.bundle.progress import Progress
from isthmus.bundle.verifying import DamageReport
from isthmus.bundle.volume import Record, Volume, VolumeFile, new_buffer, open_regular
from isthmus.errors import UsageError, VerificationError
from isthmus.store import Staging, Store


class Stage:
    """A staging directory, and the store that it is for, if there is one already."""

    def __init__(self, staging: Staging, store: Store | None, manifest: BundleManifest) -> None:
        self.staging = staging
        self.manifest = manifest
        self._store = store
        self._buffer = new_buffer()

    def has(self, number: int) -> bool:
        """Whether a blob of the manifest is here or in the store."""
        digest, size = self.manifest.blobs[number]
        if self._store is not None and self._store.blob_size(digest) == size:
            return True
        return self.staging.have(digest, size)

    def lacking(self) -> set[int]:
        """The blobs that are neither here nor in the store; one whose last piece is here is completed first."""
        blobs = enumerate(self.manifest.blobs)
        return {number for number, blob in blobs if not (self.has(number) or self.staging.complete(*blob))}

    def take(self, file: VolumeFile, record: Record) -> None:
        """Read, verify and keep one record. Raises VerificationError where it is damaged."""
        header, segment = record.placed.header, record.placed.segment
        if header is None or segment is None or header.kind != Kind.BLOB or self.has(segment.blob):
            return
        if record.is_whole:
            self._take_whole(file, record, header)
        else:
            self._take_segment(file, record, header)

    def _take_whole(self, file: VolumeFile, record: Record, header: RecordHeader) -> None:
        """A whole blob: its writer hashes it, and that proves the record too.

        What a killed run left is gone on from; where that turns out to be no beginning of the blob, the
        writer has forgotten it, and the record is read once more.
        """
        for attempt in (1, 2):
            with self.staging.write_blob(header.digest, header.total) as writer:
                begun = writer.offset > 0
                try:
                    for piece in file.payload(record, self._buffer, skip=writer.offset, hashed=False):
                        writer.write(piece)
                    writer.commit()
                except VerificationError:
                    if attempt == 2 or not begun:
                        raise
                else:
                    return

    def _take_segment(self, file: VolumeFile, record: Record, header: RecordHeader) -> None:
        digest, total = header.digest, header.total
        with self.staging.write_at(digest, total, header.offset, header.length) as writer:
            if writer.offset == header.offset:
                for piece in file.payload(record, self._buffer):
                    writer.write(piece)
                writer.commit()
        self.staging.complete(digest, total)


def stage_volumes(volumes: Sequence[Volume], stage: Stage, progress: Progress | None) -> list[Problem]:
    """Stage everything that is intact; what is damaged is noted and does not stop the rest."""
    total = sum(record.placed.length for volume in volumes for record in volume.records())
    done = 0
    problems: list[Problem] = []
    for volume in volumes:
        damage = DamageReport(volume)
        try:
            with open_regular(volume.path) as file:
                for record in volume.records():
                    try:
                        stage.take(file, record)
                    except VerificationError as error:
                        damage.add(record, error.message)
                    done += record.placed.length
                    if progress:
                        progress(done, total, volume.path.name)
        except UsageError as error:
            damage.whole(error.message)
        problems.extend(damage.problem())
    return problems
