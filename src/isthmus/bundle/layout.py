"""The byte tables of a volume: header, record header, index entry and footer, packed and parsed strictly.

docs/bundle-format.md says what every field means. Not here: what the records hold (`manifest`), reading
files (`volume`) and writing them (`packing`). All numbers are big-endian. Parsing raises VerificationError
(`damaged-volume`) for whatever a writer of this version would not have written.
"""

import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

from isthmus.errors import UsageError, VerificationError
from isthmus.oci.digest import Digest

MAJOR: Final = 1
MINOR: Final = 0

HEADER_MAGIC: Final = b"\x89ISV\r\n\x1a\n"
RECORD_MAGIC: Final = b"ISVR"
FOOTER_MAGIC: Final = b"ISVEND\r\n"

_HEADER = struct.Struct(">8sHHII32sQQIH6s")  # 80 bytes, then the signature slots
_SLOT = struct.Struct(">H6s32s64s")  # algorithm, zero, key id, signature
_RECORD = struct.Struct(">4sBBHQQQB7s64s4s")  # 108 bytes, then the CRC
_ENTRY = struct.Struct(">BBB5s64sQQQQ32s")
_FOOTER = struct.Struct(">8sQQQ32s32sIIH6s")  # 112 bytes, then the seals
_CRC = struct.Struct(">I")

SIGNATURE_SLOTS: Final = 8
HEADER_SIZE: Final = 1024
RECORD_HEADER_SIZE: Final = _RECORD.size + _CRC.size
TRAILER_SIZE: Final = 32
ENTRY_SIZE: Final = _ENTRY.size
FOOTER_SIZE: Final = 1024
RECORD_COST: Final = RECORD_HEADER_SIZE + TRAILER_SIZE + ENTRY_SIZE
"""Bytes that a record takes beside its payload, its index entry included."""

_ALGORITHMS = {"sha256": (1, 32), "sha512": (2, 64)}
_ALGORITHM_NAMES = {number: (name, size) for name, (number, size) in _ALGORITHMS.items()}
_ED25519 = 1


class Kind(IntEnum):
    """What a record holds. Readers skip kinds they do not know; see the rules for growing."""

    MANIFEST = 1
    BLOB = 2
    DELTA = 3
    PARITY = 4
    ENCRYPTED = 5
    TOOL = 6


class Signature(NamedTuple):
    """An Ed25519 signature (64 bytes) and the SHA-256 of the raw public key that verifies it (32 bytes)."""

    key_id: bytes
    value: bytes


class Header(NamedTuple):
    """What a volume says of itself before anything else."""

    bundle: bytes
    volume: int
    volumes: int
    size: int
    manifest_size: int
    records: int
    signatures: tuple[Signature, ...]


class RecordHeader(NamedTuple):
    """What stands before a payload. `length` is the payload's, `offset` and `total` are the blob's."""

    kind: int
    digest: Digest
    offset: int
    total: int
    length: int


class Entry(NamedTuple):
    """A record in the index: its header's facts, where that header stands, and the payload's SHA-256."""

    record: RecordHeader
    position: int
    checksum: bytes


class Footer(NamedTuple):
    """The fixed end of a volume."""

    index_offset: int
    index_size: int
    size: int
    index_sha256: bytes
    bundle: bytes
    volume: int
    records: int
    seals: tuple[Signature, ...]


def volume_size(payloads: list[int]) -> int:
    """The size in bytes of a volume whose records have these payload lengths."""
    return HEADER_SIZE + sum(payloads) + RECORD_COST * len(payloads) + FOOTER_SIZE


def pack_header(header: Header) -> bytes:
    """The 1024 bytes at the start of a volume."""
    fixed = _HEADER.pack(
        HEADER_MAGIC,
        MAJOR,
        MINOR,
        header.volume,
        header.volumes,
        header.bundle,
        header.size,
        header.manifest_size,
        header.records,
        len(header.signatures),
        b"",
    )
    return _with_slots(fixed, header.signatures, HEADER_SIZE)


def parse_header(data: bytes) -> Header:
    """The inverse of `pack_header`; raises UsageError (`invalid-input`) for an intact one of another version."""
    if len(data) < HEADER_SIZE or data[: len(HEADER_MAGIC)] != HEADER_MAGIC:
        raise _damaged("it does not begin as a volume does")
    body = _checked(data, HEADER_SIZE, "header")
    (_, major, _, volume, volumes, bundle, size, manifest_size, records, count, zero) = _HEADER.unpack_from(body)
    if major != MAJOR:
        raise UsageError(
            "invalid-input",
            f"it is of format version {major}; this program reads version {MAJOR}",
            hint="carry a newer isthmus in",
        )
    if any(zero) or count > SIGNATURE_SLOTS or not 1 <= volume <= volumes or not records:
        raise _damaged("its header holds impossible numbers")
    signatures = _parse_slots(body[_HEADER.size :], count, "header")
    return Header(bundle, volume, volumes, size, manifest_size, records, signatures)


def pack_record(record: RecordHeader) -> bytes:
    """The 112 bytes before a payload."""
    number, _ = _ALGORITHMS[record.digest.algorithm]
    body = _RECORD.pack(
        RECORD_MAGIC,
        record.kind,
        0,
        0,
        record.length,
        record.offset,
        record.total,
        number,
        b"",
        bytes.fromhex(record.digest.hex),
        b"",
    )
    return body + _CRC.pack(zlib.crc32(body))


def parse_record(data: bytes) -> RecordHeader:
    """The inverse of `pack_record`."""
    body = _checked(data, RECORD_HEADER_SIZE, "record header")
    (magic, kind, flags, zero, length, offset, total, number, zeros, digest, tail) = _RECORD.unpack(body)
    if magic != RECORD_MAGIC or flags or zero or any(zeros) or any(tail) or not kind:
        raise _damaged("a record header is not of this version")
    return RecordHeader(kind, _parse_digest(number, digest), offset, total, length)


def pack_entry(entry: Entry) -> bytes:
    """One record's 136 bytes of the index."""
    record = entry.record
    number, _ = _ALGORITHMS[record.digest.algorithm]
    digest = bytes.fromhex(record.digest.hex)
    return _ENTRY.pack(
        record.kind,
        0,
        number,
        b"",
        digest,
        record.offset,
        record.total,
        entry.position,
        record.length,
        entry.checksum,
    )


def parse_entry(data: bytes) -> Entry:
    """The inverse of `pack_entry`."""
    (kind, flags, number, zeros, digest, offset, total, position, length, checksum) = _ENTRY.unpack(data)
    if flags or any(zeros) or not kind:
        raise _damaged("its index holds an entry that is not of this version")
    return Entry(RecordHeader(kind, _parse_digest(number, digest), offset, total, length), position, checksum)


def pack_footer(footer: Footer) -> bytes:
    """The 1024 bytes at the end of a volume."""
    fixed = _FOOTER.pack(
        FOOTER_MAGIC,
        footer.index_offset,
        footer.index_size,
        footer.size,
        footer.index_sha256,
        footer.bundle,
        footer.volume,
        footer.records,
        len(footer.seals),
        b"",
    )
    return _with_slots(fixed, footer.seals, FOOTER_SIZE)


def parse_footer(data: bytes) -> Footer:
    """The inverse of `pack_footer`."""
    body = _checked(data, FOOTER_SIZE, "footer")
    (magic, offset, index_size, size, sha256, bundle, volume, records, count, zero) = _FOOTER.unpack_from(body)
    if magic != FOOTER_MAGIC or any(zero) or count > SIGNATURE_SLOTS:
        raise _damaged("it does not end as a volume does")
    seals = _parse_slots(body[_FOOTER.size :], count, "footer")
    return Footer(offset, index_size, size, sha256, bundle, volume, records, seals)


def seal_message(bundle: bytes, volume: int, size: int, index_sha256: bytes) -> bytes:
    """What a volume's seal signs."""
    return b"isthmus volume seal 1\n" + bundle + struct.pack(">IQ", volume, size) + index_sha256


def _with_slots(fixed: bytes, signatures: tuple[Signature, ...], size: int) -> bytes:
    """What is fixed, the slots behind it, zeros, and the CRC."""
    if len(signatures) > SIGNATURE_SLOTS:
        raise AssertionError("more signatures than slots")
    slots = b"".join(_pack_slot(signature) for signature in signatures)
    body = (fixed + slots).ljust(size - _CRC.size, b"\0")
    return body + _CRC.pack(zlib.crc32(body))


def _parse_slots(data: bytes, count: int, what: str) -> tuple[Signature, ...]:
    end = count * _SLOT.size
    if any(data[end:]):
        raise _damaged(f"its {what} holds something where zeros must be")
    return tuple(_parse_slot(data[start : start + _SLOT.size]) for start in range(0, end, _SLOT.size))


def _pack_slot(signature: Signature) -> bytes:
    return _SLOT.pack(_ED25519, b"", signature.key_id, signature.value)


def _parse_slot(data: bytes) -> Signature:
    algorithm, zero, key_id, value = _SLOT.unpack(data)
    if algorithm != _ED25519 or any(zero):
        raise _damaged("it holds a signature of a kind that is not of this version")
    return Signature(key_id, value)


def _parse_digest(number: int, data: bytes) -> Digest:
    if number not in _ALGORITHM_NAMES:
        raise _damaged(f"it uses digest algorithm {number}, which is not known")
    name, size = _ALGORITHM_NAMES[number]
    if any(data[size:]):
        raise _damaged("a digest is followed by something other than zeros")
    return Digest(f"{name}:{data[:size].hex()}")


def _checked(data: bytes, size: int, what: str) -> bytes:
    """The part before the CRC-32, if that holds."""
    if len(data) < size:
        raise _damaged(f"its {what} is cut off")
    body = data[: size - _CRC.size]
    if _CRC.unpack_from(data, size - _CRC.size)[0] != zlib.crc32(body):
        raise _damaged(f"its {what} is damaged")
    return body


def _damaged(why: str) -> VerificationError:
    return VerificationError("damaged-volume", why)
