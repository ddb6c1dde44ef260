"""`pack`: store → volumes, each blob read once and verified while it is copied.

Volumes are written as `NAME.partial` and renamed once everything in them is proven; a volume that ends
within a blob waits for that blob's end. A killed run is taken up behind the last intact record. Not here:
what goes where (`planning`), the bytes around payloads (`shape`), what is there already (`scan`).
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from isthmus.bundle.beside import CHECKSUMS, check_directory, replace, write_companions
from isthmus.bundle.fitting import BundlePlan
from isthmus.bundle.kept import Journal, hash_file
from isthmus.bundle.layout import pack_record
from isthmus.bundle.locking import exclusive
from isthmus.bundle.medium import io_errors, open_regular
from isthmus.bundle.output import Output, file_output, opened
from isthmus.bundle.overlap import Ring
from isthmus.bundle.scan import Front, scan
from isthmus.bundle.shape import Planned, Shape, Signers, shapes_of, signers_of
from isthmus.bundle.spans import Spans
from isthmus.errors import UsageError, VerificationError
from isthmus.oci import Descriptor
from isthmus.progress import Meter, Progress, silent
from isthmus.store import Store

if TYPE_CHECKING:
    from hashlib import _Hash

PARTIAL = ".partial"
_BUSY = "another process packs into this directory"
_BEHIND = 4
"""Records whose hashes may still be under way when the next is begun."""
_LANES = 3
"""Hashes beside copying: of the volume, of the payload, and of a blob that comes in several."""


@dataclass(frozen=True, slots=True)
class PackedVolume:
    """A finished volume: its file's name, size in bytes and SHA-256."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PackResult:
    """What was packed.

    `blobs` are carried; `deltas` more are left out, since the site holds them. `bytes` is the size of all
    volumes, `full_bytes` that of all blobs, carried or not.
    """

    bundle: str
    volumes: tuple[PackedVolume, ...]
    blobs: int
    bytes: int
    deltas: int
    full_bytes: int


def pack(
    plan: BundlePlan,
    store: Store,
    out_dir: str | os.PathLike[str],
    signing_key: Signers = None,
    progress: Progress | None = None,
    *,
    durable: bool = False,
) -> PackResult:
    """Write the volumes of a plan into a directory, and `manifest.json`, `manifest.sig`, `SHA256SUMS` last.

    Volumes that are there and intact are kept. With `durable`, bytes reach the medium before they count. Raises
    UsageError `file-exists` where the directory holds another bundle, `store-busy` where another `pack` writes
    there, VerificationError `damaged-store` where the store's bytes are not what they should be,
    UnreachableError `io-failed`.
    """
    place = Path(out_dir)
    with exclusive(place, _BUSY), Ring(_LANES) as ring:
        shapes = shapes_of(plan, signing_key)
        check_directory(place, shapes)
        packer = _Packer(plan, store, place, ring, progress, durable=durable)
        for shape in shapes:
            packer.volume(shape)
        volumes = tuple(packer.done)
        sums = {volume.file: volume.sha256 for volume in volumes}
        write_companions(place, plan, signers_of(signing_key), sums, durable=durable)
    return _result(plan, volumes)


def pack_again(
    plan: BundlePlan,
    number: int,
    store: Store,
    out_dir: str | os.PathLike[str],
    signing_key: Signers = None,
    progress: Progress | None = None,
    *,
    durable: bool = False,
) -> PackResult:
    """Write one volume of a plan once more, byte for byte, over what there may be of it; nothing else is touched.

    With the first volume come the plain files that lie beside it.

    Blobs that it shares with other volumes are hashed in the store first. Raises as `pack` does.
    """
    place = Path(out_dir)
    with exclusive(place, _BUSY), Ring(_LANES) as ring:
        shapes = shapes_of(plan, signing_key)
        again = shapes[number - 1]
        check_directory(place, shapes, leave_out=again.file_name)
        packer = _Packer(plan, store, place, ring, progress, durable=durable)
        packer.again(again)
        for name, data in plan.files.items() if number == 1 else ():
            replace(place / name, data, durable=durable)
    return _result(plan, tuple(packer.done))


def pack_stream(
    plan: BundlePlan,
    store: Store,
    stream: BinaryIO,
    signing_key: Signers = None,
    progress: Progress | None = None,
) -> PackResult:
    """Write all volumes one after the other into a pipe or onto a tape; nothing stands beside them.

    Raises as `pack` does; what went out before is then no bundle.
    """
    with Ring(_LANES) as ring:
        packer = _Packer(plan, store, Path("-"), ring, progress, durable=False)
        for shape in shapes_of(plan, signing_key):
            packer.into(stream, shape)
    return _result(plan, tuple(packer.done))


def pack_encrypted(
    plan: BundlePlan,
    store: Store,
    out_dir: str | os.PathLike[str],
    recipients: Sequence[Any],
    signing_key: Signers = None,
    progress: Progress | None = None,
    *,
    durable: bool = False,
) -> PackResult:
    """Write each volume encrypted, as `bundle-NUMBER.isv.age`, and `SHA256SUMS` last; no manifest beside them.

    age draws new keys each time: the files are never the same again. A killed run is taken up behind the last
    volume that it finished. Raises as `pack` does; UsageError `file-exists` where there is a finished bundle.
    """
    place = Path(out_dir)
    with exclusive(place, _BUSY), Ring(_LANES) as ring:
        if (place / CHECKSUMS).exists() or any(place.glob("*.isv")):
            raise UsageError("file-exists", "it holds a bundle; pack into an empty directory", where=str(place))
        packer, journal = _Packer(plan, store, place, ring, progress, durable=durable), Journal(place, recipients)
        for shape in shapes_of(plan, signing_key):
            packer.encrypted(shape, recipients, journal)
        volumes = tuple(packer.done)
        replace(place / CHECKSUMS, "".join(f"{v.sha256}  {v.file}\n" for v in volumes).encode(), durable=durable)
        journal.end()
    return _result(plan, volumes)


def _result(plan: BundlePlan, volumes: tuple[PackedVolume, ...]) -> PackResult:
    blobs, held = plan.manifest.blobs, len(plan.manifest.held())
    full = sum(blob.size for blob in blobs)
    return PackResult(plan.bundle, volumes, len(blobs) - held, sum(v.size for v in volumes), held, full)


class _Packer:
    """One run: the volumes in order, and the blobs that go from one to the next."""

    def __init__(
        self,
        plan: BundlePlan,
        store: Store,
        place: Path,
        ring: Ring,
        progress: Progress | None,
        *,
        durable: bool,
    ) -> None:
        self.done: list[PackedVolume] = []
        self._plan = plan
        self._store = store
        self._place = place
        self._ring = ring
        self._durable = durable
        self._meter = Meter(plan.size, progress or silent)
        self._spans = Spans()
        self._unproven: list[tuple[Path, Path]] = []
        self._unproven_records: deque[tuple[Planned, _Hash]] = deque()
        self._before = 0

    def volume(self, shape: Shape) -> None:
        """Keep a volume that is there, or write it."""
        final = self._place / shape.file_name
        partial = self._place / (shape.file_name + PARTIAL)
        before = self._spans.copy()
        front = scan(final, shape, self._spans, self._ring)
        if not front.complete:
            self._spans = before
            front = scan(partial, shape, self._spans, self._ring)
            if not front.complete:
                self._write(partial, shape, front)
            self._unproven.append((partial, final))
        if not self._spans:
            self._publish()
        self._finished(shape, front)

    def again(self, shape: Shape) -> None:
        """Write this volume alone, from the beginning."""
        records = shape.records()
        digests = {r.header.digest for r in records if r.segment and r.header.length < r.header.total}
        if any(record.is_parity for record in records):
            digests = {blob.digest for blob in self._plan.manifest.blobs}
        for digest in digests:
            self._store.verify_blob(digest)
        partial, final = self._place / (shape.file_name + PARTIAL), self._place / shape.file_name
        front = Front()
        self._write(partial, shape, front)
        self._unproven.append((partial, final))
        self._publish()
        self._finished(shape, front)

    def into(self, stream: BinaryIO, shape: Shape) -> None:
        """Write the next volume into a stream."""
        front = Front()
        with io_errors(self._place):
            self._fill(Output(stream.write, front, self._ring), shape)
            stream.flush()
        self._finished(shape, front)

    def encrypted(self, shape: Shape, recipients: Sequence[Any], journal: Journal) -> None:
        """Write the next volume encrypted, or keep what an earlier run finished."""
        from isthmus.bundle.encryption import encrypted

        final = self._place / f"bundle-{shape.number:04}.isv.age"
        partial = final.with_name(final.name + PARTIAL)
        taken = journal.take_over(shape.header, final, partial)
        if taken is None or taken[1] == partial:
            self._unproven.append((partial, final))
        if taken is not None:
            self._pass_over(shape)
            size, digest = taken[0].size, taken[0].sha256
        else:
            with opened(partial, 0, durable=self._durable) as file, encrypted(file, recipients) as stream:
                self._fill(Output(stream.write, Front(), self._ring), shape)
            with open_regular(partial) as written:
                size, digest = written.size, hash_file(written)
            journal.finished(shape.header, final.name, size, digest)
        self.done.append(PackedVolume(final.name, size, digest))
        self._before += shape.size
        self._meter.reach(self._before, final.name)
        if not self._spans:
            self._publish()

    def _pass_over(self, shape: Shape) -> None:
        """Hash in the store what a volume has of blobs that span volumes, for those that come after it."""
        for record in shape.records():
            if record.is_whole or record.is_parity or record.segment is None:
                continue
            if (blob := self._spans.begin(record.header)) is not None:
                for piece in self._payload(record):
                    blob.update(piece)
            if blob is None or not self._spans.keep(record.header, blob):
                self._give_up(record)

    def _finished(self, shape: Shape, front: Front) -> None:
        self.done.append(PackedVolume(shape.file_name, shape.size, front.hash.hexdigest()))
        self._before += shape.size
        self._meter.reach(self._before, shape.file_name)

    def _write(self, partial: Path, shape: Shape, front: Front) -> None:
        with file_output(partial, front, self._ring, durable=self._durable) as output:
            self._fill(output, shape)

    def _fill(self, output: Output, shape: Shape) -> None:
        front, records = output.front, shape.records()
        self._meter.reach(self._before + front.position, shape.file_name)
        if not front.position:
            output.put(shape.header)
        for record in records[len(front.checksums) :]:
            self._record(output, record)
            self._meter.reach(self._before + front.position)
        self._prove()
        output.put(shape.tail(records, front.checksums))
        self._ring.settle(front.hash)
        front.complete = True

    def _record(self, output: Output, record: Planned) -> None:
        output.put(pack_record(record.header))
        payload = hashlib.sha256()
        blob = None if record.is_whole or record.is_parity else self._spans.begin(record.header)
        hashes = (payload,) if blob is None else (payload, blob)
        for piece in self._meter.through(self._payload(record)):
            for digest in hashes:
                self._ring.feed(digest, piece)
            output.put(piece)
            if record.is_parity:
                self._ring.settle(payload, output.front.hash)  # its bytes are not in the ring, and do not stay
        if record.is_whole:
            # What its checksum must be is known: it is compared while the next records are being copied.
            self._unproven_records.append((record, payload))
            self._prove(_BEHIND)
            checksum = bytes.fromhex(record.header.digest.hex)
        else:
            self._ring.settle(*hashes)
            checksum = payload.digest()
            if blob is not None and not self._spans.keep(record.header, blob):
                self._give_up(record)
        output.put(checksum)
        output.front.checksums.append(checksum)

    def _prove(self, behind: int = 0) -> None:
        """See that records are what they should be, but for so many of the last."""
        while len(self._unproven_records) > behind:
            record, payload = self._unproven_records.popleft()
            self._ring.settle(payload)
            if not record.accepts(payload.digest()):
                self._give_up(record)

    def _payload(self, record: Planned) -> Iterator[memoryview]:
        """The payload's bytes; fewer than there should be where the store's blob is short."""
        if record.segment is None:
            yield memoryview(self._plan.raw)
            return
        if record.is_parity:
            from isthmus.bundle.encoding import parity_payload  # loads a library, if it is there

            yield from parity_payload(self._plan.manifest, record.segment, self._store)
            return
        header = record.header
        blob = Descriptor(media_type="application/octet-stream", digest=header.digest, size=header.total)
        left = header.length
        with self._store.open_blob("", blob, header.offset) as reader:
            while left:
                room = self._ring.room()
                count = reader.readinto(room[:left])
                if not count:
                    self._give_up(record)
                yield room[:count]
                left -= count

    def _give_up(self, record: Planned) -> None:
        """Forget the volumes that hold the blob's beginning, and say that the store is damaged."""
        for partial, _ in self._unproven:
            with io_errors(partial):
                partial.unlink(missing_ok=True)
        assert record.segment is not None
        needed_by = self._plan.manifest.affected([record.segment.blob])
        raise VerificationError(
            "damaged-store",
            f"{record.header.digest} has other bytes than it should; it is needed by {', '.join(needed_by[:5])}",
            where=str(self._store.blob_path(record.header.digest)),
            hint="remove the blob and run `isthmus pull`, then pack again: it goes on where it stopped",
            items=needed_by,
        )

    def _publish(self) -> None:
        for partial, final in self._unproven:
            with io_errors(final):
                os.rename(partial, final)
        self._unproven.clear()
