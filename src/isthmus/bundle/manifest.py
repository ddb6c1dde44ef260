"""The bundle's manifest: which blobs and references cross, and which volume holds which part of them.

It is canonical JSON that is known before the first byte of a blob is read; its SHA-256 is the bundle's id.
Here are its shape, its encoding and its strict decoding. Not here: how a plan is made (`planning`), and the
bytes of volumes (`layout`).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from isthmus.bundle.layout import HEADER_SIZE, RECORD_HEADER_SIZE, TRAILER_SIZE, Kind, RecordHeader, volume_size
from isthmus.errors import UsageError, VerificationError
from isthmus.oci.descriptor import Descriptor, decode_custom
from isthmus.oci.digest import Digest

FORMAT: Final = "isthmus-bundle"
VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
SIGNATURE_FILE: Final = "manifest.sig"
BASELINE_FEATURE: Final = "baseline"
KNOWN_FEATURES: Final = frozenset({BASELINE_FEATURE})
MAX_MANIFEST: Final = 16 * 1024 * 1024
MAX_SIZE: Final = 2**53 - 1
MAX_VOLUMES: Final = 65_536
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Text = Annotated[str, msgspec.Meta(max_length=2048)]


class Blob(NamedTuple):
    """A blob that crosses, manifests included; size in bytes."""

    digest: Digest
    size: Size


class ManifestBlob(NamedTuple):
    """Says that a blob is a manifest or an index, of which type, and what it names as its subject."""

    blob: Index
    media_type: Text
    subject: Index | None


class Segment(NamedTuple):
    """One record: its kind, for blobs the index in `blobs` and the offset there, and the payload's length."""

    kind: Annotated[int, msgspec.Meta(ge=1, le=255)]
    blob: Index
    offset: Size
    length: Size


class VolumeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A volume: its exact size in bytes, and its records behind the manifest's own, in order."""

    records: tuple[Segment, ...]
    size: Size


class CarriedReference(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reference as the platform writes it, its root, and every blob it needs (indexes, ascending).

    `platforms` are those asked for; none means that the root's children were taken as the store had them.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    kind: Text
    digest: Digest
    media_type: Text
    size: Size
    blobs: tuple[Index, ...]
    platforms: tuple[Text, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        """What the store's index says of the root."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)


class Run(NamedTuple):
    """Consecutive numbers: the first, and how many."""

    first: Index
    length: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Baseline(msgspec.Struct, frozen=True):
    """What the site must hold already: all that its receipts had in common, hashed, and the blobs needed of it.

    `digests` is the SHA-256 of the common digests, sorted, a line each; `held` are runs of indexes in `blobs`.
    """

    digests: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    held: tuple[Run, ...]

    def numbers(self) -> set[int]:
        """The indexes in `blobs` that are not carried."""
        return {number for run in self.held for number in range(run.first, run.first + run.length)}


class Parity(msgspec.Struct, frozen=True):
    """The code over the first `volumes` volumes: `rows` parity shards of `shard` bytes in each of the stripes."""

    code: Text
    rows: Annotated[int, msgspec.Meta(ge=1, le=255)]
    shard: Annotated[int, msgspec.Meta(ge=1, le=256 * 1024)]
    stripes: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    volumes: Annotated[int, msgspec.Meta(ge=1, le=256)]


class BesideFile(NamedTuple):
    """A plain file beside the first volume, for people and for Python: not in any volume."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    digest: Digest
    size: Size


class BundleManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole document; docs/bundle-format.md explains each field. `fill` only makes the size come out even."""

    format: str
    version: int
    name: str
    blobs: tuple[Blob, ...]
    manifests: tuple[ManifestBlob, ...]
    references: tuple[CarriedReference, ...]
    volumes: tuple[VolumeTable, ...]
    volume_size: Size | None
    fill: str
    requires: tuple[str, ...]
    created: str | None = None
    sequence: Size | None = None
    expires: str | None = None
    baseline: Baseline | None = None
    parity: Parity | None = None
    encryption: dict[str, Any] | None = None
    beside: Annotated[tuple[BesideFile, ...], msgspec.Meta(max_length=64)] = ()

    def held(self) -> set[int]:
        """The indexes of the blobs that are not carried, since the site has them."""
        return self.baseline.numbers() if self.baseline else set()

    def file_name(self, volume: int) -> str:
        """The name of a volume's file; volumes count from 1."""
        width = max(4, len(str(len(self.volumes))))
        return f"{self.name}-{volume:0{width}}.isv"

    def total_bytes(self) -> int:
        """All payload bytes of all volumes, their copies of the manifest not included."""
        return sum(record.length for volume in self.volumes for record in volume.records)

    def affected(self, blobs: Iterable[int]) -> tuple[str, ...]:
        """The names of the references that need any of these blobs, sorted."""
        wanted = set(blobs)
        return tuple(sorted({ref.name for ref in self.references if not wanted.isdisjoint(ref.blobs)}))

    def affected_by_volume(self, volume: int) -> tuple[str, ...]:
        """The names of the references that need anything of a volume."""
        return self.affected(
            record.blob for record in self.volumes[volume - 1].records if record.kind == Kind.BLOB
        )


class Placed(NamedTuple):
    """A record at its place: where its header stands, the payload's length, and the header where it is known."""

    position: int
    length: int
    header: RecordHeader | None
    segment: Segment | None


def bundle_id(raw: bytes) -> bytes:
    """The bundle's id: the SHA-256 of its manifest."""
    return hashlib.sha256(raw).digest()


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785, of which only integers, strings and their containers are used)."""
    return msgspec.json.encode(value, enc_hook=_as_text, order="sorted")


def _as_text(value: Any) -> str:
    if isinstance(value, Digest):
        return str(value)
    raise NotImplementedError(type(value))


def decode_manifest(raw: bytes) -> BundleManifest:
    """Parse and check a manifest; unknown keys are ignored, unknown features in `requires` are not.

    Raises VerificationError (`damaged-volume`) for anything a writer would not have written, UsageError
    (`invalid-input`) for another version or an unknown feature.
    """
    if len(raw) > MAX_MANIFEST:
        raise _damaged(f"the manifest is larger than {MAX_MANIFEST} bytes")
    try:
        generic = msgspec.json.decode(raw)
        if canonical(generic) != raw:
            raise _damaged("the manifest is not canonical JSON")
        _check_version(generic)
        manifest = msgspec.convert(generic, BundleManifest, dec_hook=decode_custom)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _damaged(f"the manifest cannot be read: {str(error)[:200]}") from error
    except UsageError as error:
        if error.code != "invalid-digest":
            raise
        raise _damaged(f"the manifest cannot be read: {error.message}") from error
    _check_contents(manifest)
    _check_volumes(manifest, len(raw))
    if manifest.parity is not None:
        from isthmus.bundle.parity import parity_fault

        if fault := parity_fault(manifest):
            raise _damaged(fault)
    return manifest


def placed_records(manifest: BundleManifest, raw: bytes, volume: int) -> Iterator[Placed]:
    """Every record of a volume in order, the manifest's first."""
    digest = Digest(f"sha256:{bundle_id(raw).hex()}")
    header = RecordHeader(Kind.MANIFEST, digest, 0, len(raw), len(raw))
    yield Placed(HEADER_SIZE, len(raw), header, None)
    position = HEADER_SIZE + RECORD_HEADER_SIZE + len(raw) + TRAILER_SIZE
    for segment in manifest.volumes[volume - 1].records:
        known = None
        if segment.kind == Kind.BLOB:
            blob = manifest.blobs[segment.blob]
            known = RecordHeader(Kind.BLOB, blob.digest, segment.offset, blob.size, segment.length)
        yield Placed(position, segment.length, known, segment)
        position += RECORD_HEADER_SIZE + segment.length + TRAILER_SIZE


def _check_version(generic: Any) -> None:
    if not isinstance(generic, dict) or generic.get("format") != FORMAT:
        raise _damaged("the manifest is not that of a bundle")
    if generic.get("version") != VERSION:
        raise UsageError(
            "invalid-input",
            f"the bundle is of version {str(generic.get('version'))[:20]}; this program reads version {VERSION}",
            hint="carry a newer isthmus in",
        )
    requires = generic.get("requires")
    unknown = (
        sorted(str(name)[:60] for name in requires if name not in KNOWN_FEATURES)
        if (isinstance(requires, list) and all(isinstance(name, str) for name in requires))
        else []
    )
    if unknown:
        raise UsageError(
            "invalid-input",
            f"the bundle needs features that this program does not have: {', '.join(unknown[:10])}",
            hint="carry a newer isthmus in",
        )


def _check_contents(manifest: BundleManifest) -> None:
    count = len(manifest.blobs)
    if not NAME.fullmatch(manifest.name):
        raise _damaged("the bundle's name cannot be a file name")
    if len({blob.digest for blob in manifest.blobs}) != count:
        raise _damaged("the manifest lists a blob twice")
    for entry in manifest.manifests:
        if entry.blob >= count or (entry.subject is not None and entry.subject >= count):
            raise _damaged("the manifest speaks of a blob that it does not list")
    if len({entry.blob for entry in manifest.manifests}) != len(manifest.manifests):
        raise _damaged("the manifest lists a manifest twice")
    if len({(ref.kind, ref.name) for ref in manifest.references}) != len(manifest.references):
        raise _damaged("the manifest lists a reference twice")
    for reference in manifest.references:
        _check_reference(manifest, reference)
    _check_baseline(manifest)


def _check_baseline(manifest: BundleManifest) -> None:
    """The runs ascend, leave gaps between them, and end within the list; whoever cannot read them must know."""
    if (manifest.baseline is not None) != (BASELINE_FEATURE in manifest.requires):
        raise _damaged("the manifest names a baseline without requiring it, or the other way round")
    reached = -1
    for run in manifest.baseline.held if manifest.baseline else ():
        if run.first <= reached or run.first + run.length > len(manifest.blobs):
            raise _damaged("the manifest's baseline speaks of blobs that it does not list")
        reached = run.first + run.length


def _check_reference(manifest: BundleManifest, reference: CarriedReference) -> None:
    needed = reference.blobs
    if any(a >= b for a, b in pairwise(needed)):
        raise _damaged("a reference's blobs are not in ascending order")
    if not needed or needed[-1] >= len(manifest.blobs):
        raise _damaged("a reference needs a blob that the manifest does not list")
    if (reference.digest, reference.size) not in {manifest.blobs[index] for index in needed}:
        raise _damaged("a reference does not need its own root")


def _check_volumes(manifest: BundleManifest, manifest_size: int) -> None:
    """Every blob outside the baseline is there exactly once; every volume's size is the sum of its parts."""
    if not 1 <= len(manifest.volumes) <= MAX_VOLUMES:
        raise _damaged(f"the bundle has {len(manifest.volumes)} volumes")
    reached: dict[int, int] = {}
    held = manifest.held()
    for table in manifest.volumes:
        if table.size != volume_size([manifest_size, *(record.length for record in table.records)]):
            raise _damaged("a volume's size is not the sum of its records")
        if manifest.volume_size is not None and table.size > manifest.volume_size:
            raise _damaged("a volume is larger than the manifest allows")
        for record in table.records:
            if record.kind != Kind.BLOB:
                continue  # a later version's record: carried and checked by its own checksum, otherwise ignored
            if record.blob in held:
                raise _damaged("the manifest carries a blob of its baseline")
            if record.blob >= len(manifest.blobs) or record.offset != reached.get(record.blob, 0):
                raise _damaged("the records of a blob overlap, or leave a gap")
            if not record.length and (record.offset or manifest.blobs[record.blob].size):
                raise _damaged("a record of a blob is empty")
            if record.blob in reached and not record.length:
                raise _damaged("a blob has two records of nothing")
            reached[record.blob] = record.offset + record.length
    if any(reached.get(index) != blob.size for index, blob in enumerate(manifest.blobs) if index not in held):
        raise _damaged("the records do not make up the blobs")


def _damaged(why: str) -> VerificationError:
    return VerificationError("damaged-volume", why)
