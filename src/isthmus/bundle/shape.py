"""What a volume will look like, byte for byte, but for its payloads; shared by whoever writes and resumes.

Everything here follows from the plan and the signing key. Not here: files.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.bundle.fitting import BundlePlan
from isthmus.bundle.keys import SigningKey
from isthmus.bundle.layout import (
    FOOTER_SIZE,
    SIGNATURE_SLOTS,
    Entry,
    Footer,
    Header,
    Kind,
    RecordHeader,
    pack_entry,
    pack_footer,
    pack_header,
    seal_message,
)
from isthmus.bundle.manifest import Segment, bundle_id, placed_records
from isthmus.bundle.parity import record_header
from isthmus.errors import UsageError

Signers = SigningKey | Sequence[SigningKey] | None


def signers_of(keys: Signers) -> tuple[SigningKey, ...]:
    """The keys that sign, each once. Raises UsageError `wrong-usage` where there are more than slots."""
    several = (keys,) if isinstance(keys, SigningKey) else tuple(keys or ())
    signers = tuple({key.public.raw: key for key in several}.values())
    if len(signers) > SIGNATURE_SLOTS:
        raise UsageError("wrong-usage", f"at most {SIGNATURE_SLOTS} keys can sign a bundle")
    return signers


@dataclass(frozen=True, slots=True)
class Planned:
    """A record to be written. `segment` is None for the manifest's own."""

    position: int
    header: RecordHeader
    segment: Segment | None

    @property
    def is_whole(self) -> bool:
        """Whether the SHA-256 of the payload must be the blob's digest."""
        header = self.header
        whole = header.kind != Kind.PARITY and header.length == header.total
        return whole and header.digest.algorithm == "sha256"

    @property
    def is_parity(self) -> bool:
        """Whether it is no blob, nor the manifest."""
        return self.header.kind == Kind.PARITY

    def accepts(self, checksum: bytes) -> bool:
        """Whether a payload with this SHA-256 can be right, as far as the record alone can tell."""
        return not self.is_whole or checksum.hex() == self.header.digest.hex


@dataclass(frozen=True, slots=True)
class Shape:
    """A volume to be written."""

    plan: BundlePlan
    number: int
    header: bytes
    keys: tuple[SigningKey, ...]

    @property
    def file_name(self) -> str:
        """Its final name."""
        return self.plan.manifest.file_name(self.number)

    @property
    def size(self) -> int:
        """Bytes, exactly."""
        return self.plan.manifest.volumes[self.number - 1].size

    def records(self) -> list[Planned]:
        """All records in order."""
        result = []
        for placed in placed_records(self.plan.manifest, self.plan.raw, self.number):
            header, parity = placed.header, self.plan.manifest.parity
            if header is None:
                assert placed.segment is not None
                assert parity is not None
                header = record_header(placed.segment, parity.rows)
            result.append(Planned(placed.position, header, placed.segment))
        return result

    def tail(self, records: Sequence[Planned], checksums: Sequence[bytes]) -> bytes:
        """The index and the footer, once the payloads are known."""
        index = b"".join(
            pack_entry(Entry(record.header, record.position, checksum))
            for record, checksum in zip(records, checksums, strict=True)
        )
        bundle, digest = bundle_id(self.plan.raw), hashlib.sha256(index).digest()
        message = seal_message(bundle, self.number, self.size, digest)
        seals = tuple(key.sign(message) for key in self.keys)
        offset = self.size - FOOTER_SIZE - len(index)
        return index + pack_footer(
            Footer(offset, len(index), self.size, digest, bundle, self.number, len(records), seals)
        )


def shapes_of(plan: BundlePlan, keys: Signers) -> list[Shape]:
    """All volumes of a plan; all keys sign the manifest and seal each volume."""
    manifest, bundle = plan.manifest, bundle_id(plan.raw)
    signers = signers_of(keys)
    signatures = tuple(key.sign(plan.raw) for key in signers)
    result = []
    for number, table in enumerate(manifest.volumes, 1):
        header = Header(
            bundle=bundle,
            volume=number,
            volumes=len(manifest.volumes),
            size=table.size,
            manifest_size=len(plan.raw),
            records=len(table.records) + 1,
            signatures=signatures,
        )
        result.append(Shape(plan, number, pack_header(header), signers))
    return result
