"""Reading one volume: everything but the payloads is checked on opening, each payload while it is read.

A volume is compared with what its manifest says must be in it, byte for byte where that is known, so that
its own index is never trusted for a length or a place. Not here: how volumes belong together (`volumeset`).
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from isthmus.bundle.layout import (
    ENTRY_SIZE,
    FOOTER_SIZE,
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    TRAILER_SIZE,
    Footer,
    Header,
    Kind,
    Signature,
    pack_record,
    parse_entry,
    parse_footer,
    parse_header,
    parse_record,
)
from isthmus.bundle.manifest import (
    MAX_MANIFEST,
    BundleManifest,
    Placed,
    bundle_id,
    decode_manifest,
    placed_records,
)
from isthmus.bundle.medium import MediumFile, open_regular
from isthmus.bundle.overlap import Ring
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.oci.content import CHUNK


class Readable(Protocol):
    """A volume's file, or a stream that is only read at rising places."""

    path: Path

    def at(self, position: int, length: int) -> bytes:
        """A few bytes, fewer at the end."""

    def into(self, buffer: memoryview, position: int) -> int:
        """Fill the buffer as far as there is something."""


class Contents(NamedTuple):
    """A manifest with the bytes that have the bundle's id."""

    raw: bytes
    manifest: BundleManifest


class Record(NamedTuple):
    """A record at its place, with the SHA-256 that its payload must have; empty where it is not known yet."""

    placed: Placed
    checksum: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the payload is a whole blob whose digest is the record's checksum: one hash proves both."""
        header = self.placed.header
        return (
            header is not None
            and header.length == header.total
            and header.digest.algorithm == "sha256"
            and header.digest.hex == self.checksum.hex()
        )


@dataclass(frozen=True, slots=True)
class Volume:
    """An opened volume whose header, manifest, index and footer hold and agree. Keeps no file open."""

    path: Path
    header: Header
    contents: Contents
    seals: tuple[Signature, ...]
    index_sha256: bytes
    checksums: bytes

    @property
    def manifest(self) -> BundleManifest:
        """What the whole bundle holds."""
        return self.contents.manifest

    @property
    def bundle(self) -> str:
        """The bundle's id, 64 hexadecimal digits."""
        return self.header.bundle.hex()

    @property
    def number(self) -> int:
        """Counted from 1."""
        return self.header.volume

    def records(self) -> Iterator[Record]:
        """All records in order, the manifest's first."""
        for number, placed in enumerate(placed_records(self.manifest, self.contents.raw, self.number)):
            yield Record(placed, self.checksums[32 * number : 32 * number + 32])


@dataclass(slots=True)
class Inspection:
    """What could be learned of a file that should be a volume, as far as it is intact."""

    path: Path
    header: Header | None = None
    contents: Contents | None = None
    volume: Volume | None = None
    error: IsthmusError | None = None


@dataclass(slots=True)
class KnownContents:
    """Manifests that were decoded already, by bundle id: a thousand volumes share one."""

    by_id: dict[bytes, Contents] = field(default_factory=dict)

    def decode(self, raw: bytes) -> Contents:
        """The manifest of these bytes."""
        key = bundle_id(raw)
        if key not in self.by_id:
            self.by_id[key] = Contents(raw, decode_manifest(raw))
        return self.by_id[key]


def open_volume(path: str | os.PathLike[str]) -> Volume:
    """Open and check a volume, all but its payloads.

    Raises VerificationError `damaged-volume`, UsageError `file-not-found` or `invalid-input` (a later
    version), UnreachableError `io-failed`.
    """
    inspection = inspect(Path(path), KnownContents())
    if inspection.volume is None:
        assert inspection.error is not None
        raise inspection.error
    return inspection.volume


def inspect(path: Path, known: KnownContents) -> Inspection:
    """Check a file and keep whatever is known of it when that fails; raises only UnreachableError."""
    result = Inspection(path)
    try:
        with open_regular(path) as file:
            _inspect(file, result, known)
    except (VerificationError, UsageError) as error:
        error.at(str(path))
        result.error = error
    return result


def payload(
    file: Readable, record: Record, ring: Ring, *, skip: int = 0, hashed: bool = True
) -> Iterator[memoryview]:
    """A record's payload in pieces of the ring's buffers; the last step is the check of the whole.

    Pieces must not be trusted before the iterator ended. Whoever leaves out the first `skip` bytes, or says
    that it is not `hashed` here, hashes the payload himself. Raises VerificationError `damaged-volume`.
    """
    placed = record.placed
    if not _header_holds(file.at(placed.position, RECORD_HEADER_SIZE), placed):
        raise damaged_record(file, placed)
    digest = hashlib.sha256()
    start = placed.position + RECORD_HEADER_SIZE
    end = start + placed.length
    for position in range(start + skip, end, CHUNK):
        piece = ring.room()[: end - position]
        if file.into(piece, position) != len(piece):
            raise damaged_record(file, placed)
        if hashed:
            ring.feed(digest, piece)
        yield piece
    ring.settle(digest)
    found = digest.digest() if hashed else record.checksum
    if found != file.at(end, TRAILER_SIZE) or found != (record.checksum or found):
        raise damaged_record(file, placed)


def _header_holds(head: bytes, placed: Placed) -> bool:
    if placed.header is not None:
        return head == pack_record(placed.header)
    parsed = parse_record(head)
    return placed.segment is not None and (parsed.kind, parsed.length) == (placed.segment.kind, placed.length)


def damaged_record(file: Readable, placed: Placed) -> VerificationError:
    """Say that a record is not what its volume's index says."""
    what = f" of {placed.header.digest}" if placed.header else ""
    return VerificationError(
        "damaged-volume", f"the record{what} at byte {placed.position} is damaged", where=str(file.path)
    )


def _inspect(file: MediumFile, result: Inspection, known: KnownContents) -> None:
    result.header = header = parse_header(file.at(0, HEADER_SIZE))
    if header.manifest_size > MAX_MANIFEST:
        raise _damaged(f"its manifest would be larger than {MAX_MANIFEST} bytes")
    raw = file.at(HEADER_SIZE + RECORD_HEADER_SIZE, header.manifest_size)
    if bundle_id(raw) != header.bundle:
        raise _damaged("its manifest is damaged")
    result.contents = contents = known.decode(raw)
    check_header(header, contents)
    if file.size != header.size:
        kind = "cut off" if file.size < header.size else "too long"
        raise _damaged(f"it is {kind}: it has {file.size} bytes instead of {header.size}")
    first = next(placed_records(contents.manifest, raw, header.volume))
    assert first.header is not None
    trailer = file.at(first.position + RECORD_HEADER_SIZE + first.length, TRAILER_SIZE)
    if file.at(first.position, RECORD_HEADER_SIZE) != pack_record(first.header) or trailer != header.bundle:
        raise _damaged("its manifest's record is damaged")
    footer = parse_footer(file.at(header.size - FOOTER_SIZE, FOOTER_SIZE))
    index = _read_index(file, header, footer)
    checksums = _check_index(index, contents, header.volume)
    result.volume = Volume(file.path, header, contents, footer.seals, footer.index_sha256, checksums)


def check_header(header: Header, contents: Contents) -> None:
    """See that a header says what its manifest says; raises VerificationError `damaged-volume`."""
    manifest = contents.manifest
    if header.volumes != len(manifest.volumes):
        raise _damaged("its header and its manifest do not agree on the number of volumes")
    table = manifest.volumes[header.volume - 1]
    if header.size != table.size or header.records != len(table.records) + 1:
        raise _damaged("its header and its manifest do not agree on its size")


def check_footer(header: Header, footer: Footer) -> None:
    """See that a footer says what its header says; raises VerificationError `damaged-volume`."""
    size = ENTRY_SIZE * header.records
    expected = (header.size - FOOTER_SIZE - size, size, header.size, header.bundle, header.volume, header.records)
    found = (footer.index_offset, footer.index_size, footer.size, footer.bundle, footer.volume, footer.records)
    if found != expected:
        raise _damaged("its footer does not agree with its header")


def _read_index(file: MediumFile, header: Header, footer: Footer) -> bytes:
    size = ENTRY_SIZE * header.records
    offset = header.size - FOOTER_SIZE - size
    check_footer(header, footer)
    index = file.at(offset, size)
    if hashlib.sha256(index).digest() != footer.index_sha256:
        raise _damaged("its index is damaged")
    return index


def _check_index(index: bytes, contents: Contents, volume: int) -> bytes:
    """The checksums of all records, if the index says of them what the manifest says."""
    checksums = bytearray()
    for number, placed in enumerate(placed_records(contents.manifest, contents.raw, volume)):
        entry = parse_entry(index[number * ENTRY_SIZE : (number + 1) * ENTRY_SIZE])
        header = placed.header or entry.record
        kind = placed.segment.kind if placed.segment else Kind.MANIFEST
        if (entry.record, entry.position) != (header, placed.position) or kind != header.kind:
            raise _damaged("its index does not agree with its manifest")
        whole = header.length == header.total and header.digest.algorithm == "sha256" and placed.header is not None
        if header.length != placed.length or (whole and entry.checksum.hex() != header.digest.hex):
            raise _damaged("its index does not agree with its manifest")
        checksums += entry.checksum
    return bytes(checksums)


def _damaged(why: str) -> VerificationError:
    return VerificationError("damaged-volume", why)
