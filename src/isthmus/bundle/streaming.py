"""Volumes one after the other from a pipe or a tape: everything is checked in one pass, front to back.

A payload's checksum and the index are behind it here, so that what was read is only right once the volume has
ended; blobs are right by their own digests before that. Not here: what is done with records (`unpacking`,
`verifying`).
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from isthmus.bundle.keys import PublicKey
from isthmus.bundle.layout import (
    ENTRY_SIZE,
    FOOTER_SIZE,
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    TRAILER_SIZE,
    Entry,
    Kind,
    pack_entry,
    pack_record,
    parse_footer,
    parse_header,
    parse_record,
)
from isthmus.bundle.manifest import MAX_MANIFEST, Placed, bundle_id, placed_records
from isthmus.bundle.medium import read_failed
from isthmus.bundle.problems import Problem
from isthmus.bundle.trust import manifest_refused, seal_refused
from isthmus.bundle.verifying import DamageReport
from isthmus.bundle.volume import KnownContents, Record, Volume, check_footer, check_header
from isthmus.bundle.volumeset import VolumeSet, complete_set
from isthmus.errors import UsageError, VerificationError

_SKIPPED_AT_ONCE: Final = 1024 * 1024


class StreamFile:
    """Looks like a file that is read at rising places; places count from the beginning of a volume."""

    def __init__(self, source: BinaryIO, name: str) -> None:
        self.path = Path(name)
        self.small: list[bytes] = []
        self._source = source
        self._position = 0

    def next_volume(self) -> None:
        """Count from here."""
        self._position = 0

    def at(self, position: int, length: int) -> bytes:
        """A few bytes, fewer at the end; they are remembered in `small`."""
        self._skip_to(position)
        pieces = bytearray()
        while len(pieces) < length and (piece := self._read(length - len(pieces))):
            pieces += piece
        self.small.append(bytes(pieces))
        return self.small[-1]

    def into(self, buffer: memoryview, position: int) -> int:
        """Fill the buffer as far as the stream goes."""
        self._skip_to(position)
        done = 0
        while done < len(buffer) and (piece := self._read(len(buffer) - done)):
            buffer[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def _skip_to(self, position: int) -> None:
        if position < self._position:
            raise VerificationError("damaged-volume", "a stream cannot be read again; send it once more")
        while self._position < position:
            if not self._read(min(_SKIPPED_AT_ONCE, position - self._position)):
                return

    def _read(self, length: int) -> bytes:
        try:
            piece = self._source.read(length)
        except OSError as error:
            raise read_failed(error, self.path) from error
        self._position += len(piece)
        return piece


Take = Callable[[StreamFile, Record], None]
"""Reads a record through `payload` and raises VerificationError where it is damaged."""


def begin_stream(file: StreamFile, keys: Sequence[PublicKey], known: KnownContents) -> Volume | None:
    """Header and manifest of the next volume, signed as required; None where the stream ends.

    Raises VerificationError: what comes behind a damaged beginning cannot be told apart any more.
    """
    file.next_volume()
    head = file.at(0, HEADER_SIZE)
    if not any(head) and len(head) < HEADER_SIZE:
        return None  # the end, or what a tape fills its last block up with
    header = parse_header(head)
    if header.manifest_size > MAX_MANIFEST:
        raise _damaged(file, f"its manifest would be larger than {MAX_MANIFEST} bytes")
    record = file.at(HEADER_SIZE, RECORD_HEADER_SIZE)
    raw = file.at(HEADER_SIZE + RECORD_HEADER_SIZE, header.manifest_size)
    trailer = file.at(HEADER_SIZE + RECORD_HEADER_SIZE + header.manifest_size, TRAILER_SIZE)
    if not bundle_id(raw) == header.bundle == trailer:
        raise _damaged(file, f"the manifest of volume {header.volume} is damaged")
    contents = known.decode(raw)
    check_header(header, contents)
    first = next(placed_records(contents.manifest, raw, header.volume))
    assert first.header is not None
    if record != pack_record(first.header):
        raise _damaged(file, "its manifest's record is damaged")
    volume = Volume(file.path, header, contents, (), b"", b"")
    if refused := manifest_refused(volume, keys):
        raise VerificationError(*refused, where=str(file.path))
    return volume


def read_stream(
    file: StreamFile, first: Volume, keys: Sequence[PublicKey], known: KnownContents, take: Take
) -> tuple[VolumeSet, list[Problem]]:
    """Read the volume that was begun and all behind it; the volumes that were there, and what is damaged.

    Raises VerificationError `foreign-volume`, `damaged-volume` where the stream cannot be followed.
    """
    given = VolumeSet(first.contents)
    problems: list[Problem] = []
    volume: Volume | None = first
    while volume is not None:
        if volume.header.bundle != first.header.bundle:
            raise VerificationError(
                "foreign-volume",
                f"a volume belongs to another bundle ({volume.bundle[:16]})",
                where=str(file.path),
            )
        ended, damage = _read_volume(file, volume, keys, take)
        given.volumes.setdefault(volume.number, ended)
        problems.extend(damage.problem())
        volume = begin_stream(file, keys, known)
    complete_set(given, first.contents, keys)
    return given, problems


def _read_volume(
    file: StreamFile, volume: Volume, keys: Sequence[PublicKey], take: Take
) -> tuple[Volume, DamageReport]:
    damage = DamageReport(volume)
    entries = []
    for placed in placed_records(volume.manifest, volume.contents.raw, volume.number):
        if placed.segment is None:
            assert placed.header is not None
            entries.append(Entry(placed.header, placed.position, volume.header.bundle))
            continue
        file.small.clear()
        record = Record(placed, _expected(placed))
        try:
            take(file, record)
            head, *_, trailer = file.small
            entries.append(Entry(parse_record(head), placed.position, trailer))
        except VerificationError as error:
            damage.add(record, error.message)
    if damage.problem():
        file.at(volume.header.size - FOOTER_SIZE, FOOTER_SIZE)
        return volume, damage
    try:
        return _end(file, volume, entries, keys), damage
    except VerificationError as error:
        damage.whole(error.message, error.code)
        return volume, damage


def _expected(placed: Placed) -> bytes:
    """The checksum where it follows from the manifest, otherwise nothing."""
    header = placed.header
    whole = header is not None and header.kind == Kind.BLOB and header.length == header.total
    return bytes.fromhex(header.digest.hex) if header and whole and header.digest.algorithm == "sha256" else b""


def _end(file: StreamFile, volume: Volume, entries: Sequence[Entry], keys: Sequence[PublicKey]) -> Volume:
    """The volume with its seal, if index and footer are what the records make them."""
    header = volume.header
    index = b"".join(_packed(entries))
    start = header.size - FOOTER_SIZE - ENTRY_SIZE * header.records
    if file.at(start, len(index)) != index:
        raise _damaged(file, "its index is damaged")
    footer = parse_footer(file.at(header.size - FOOTER_SIZE, FOOTER_SIZE))
    check_footer(header, footer)
    if footer.index_sha256 != hashlib.sha256(index).digest():
        raise _damaged(file, "its index is damaged")
    ended = dataclasses.replace(volume, seals=footer.seals, index_sha256=footer.index_sha256)
    if refused := seal_refused(ended, keys):
        raise VerificationError(*refused)
    return ended


def _packed(entries: Sequence[Entry]) -> Iterator[bytes]:
    return (pack_entry(entry) for entry in entries)


def start_stream(
    source: BinaryIO, name: str, keys: Sequence[PublicKey]
) -> tuple[StreamFile, Volume, KnownContents]:
    """The stream with its first volume begun. Raises UsageError `invalid-input` where there is none."""
    file, known = StreamFile(source, name), KnownContents()
    first = begin_stream(file, keys, known)
    if first is None:
        raise UsageError("invalid-input", "the stream is empty", where=name)
    return file, first, known


def _damaged(file: StreamFile, why: str) -> VerificationError:
    return VerificationError("damaged-volume", why, where=str(file.path))
