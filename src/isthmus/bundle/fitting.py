"""Fitting blobs into volumes whose sizes are known to the byte before any blob is read.

Every volume carries the manifest, which describes how the volumes are filled, so that each depends on the
other. Not here: which blobs there are (`planning`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import msgspec

from isthmus.bundle.layout import RECORD_COST, Kind, volume_size
from isthmus.bundle.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST,
    MAX_SIZE,
    MAX_VOLUMES,
    SIGNATURE_FILE,
    BesideFile,
    Blob,
    BundleManifest,
    Segment,
    VolumeTable,
    bundle_id,
    canonical,
)
from isthmus.bundle.parity import with_parity
from isthmus.errors import UsageError
from isthmus.oci import Digest

SIGNATURE_SIZE: Final = 64
_CHECKSUM_LINE: Final = 67
MINIMUM_ROOM: Final = 64 * 1024
"""Bytes of a volume that must be left beside four times the manifest."""


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """A manifest, its canonical bytes, and so everything about the bundle but the payloads."""

    manifest: BundleManifest
    raw: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What lies beside the first volume, by name, as `manifest.beside` lists it."""

    @property
    def bundle(self) -> str:
        """The bundle's id, 64 hexadecimal digits."""
        return bundle_id(self.raw).hex()

    @property
    def size(self) -> int:
        """Bytes of all volumes together."""
        return sum(volume.size for volume in self.manifest.volumes)


Companions = Callable[[BundleManifest], Mapping[str, bytes]]
"""Makes the files beside the first volume from a manifest, of which `beside` and `fill` do not count."""


def nothing_beside(manifest: BundleManifest) -> Mapping[str, bytes]:  # noqa: ARG001
    """No files."""
    return {}


def fit(
    manifest: BundleManifest, limit: int | None, parity: float = 0, companions: Companions = nothing_beside
) -> BundlePlan:
    """The plan within the limit, with so many per cent of parity.

    The first volume is smaller by what lies beside it, so that both fit the medium. Where there is no plan, say
    the least limit for which there is one.
    """
    plan = _try_fit(manifest, limit, parity, companions)
    if isinstance(plan, BundlePlan):
        return plan
    least: BundlePlan | int = plan
    while isinstance(least, int):
        plan, least = least, _try_fit(manifest, least, parity, companions)
    raise UsageError(
        "invalid-size",
        f"volumes of {limit} bytes are too small: each carries the manifest, and needs at least {plan} bytes",
    )


def _try_fit(
    manifest: BundleManifest, limit: int | None, percent: float, companions: Companions
) -> BundlePlan | int:
    """Split the blobs so that every volume holds the manifest that describes the split; a size to try instead.

    The manifest's size changes the split and the split the manifest's size, so that the size grows until
    the manifest fits, and `fill` takes up what is then left.
    """
    size = reserve = 0
    for attempt in count():
        volumes = split(manifest.blobs, limit if attempt else None, size, manifest.held(), reserve)
        tables = tuple(
            VolumeTable(tuple(v), volume_size([size, *(record.length for record in v)])) for v in volumes
        )
        parity = None
        if percent and attempt:
            parity, tables = with_parity(tables, percent, limit, size)
        fitted = msgspec.structs.replace(manifest, volumes=tables, volume_size=limit, parity=parity)
        files = companions(fitted)
        listed = tuple(BesideFile(name, Digest.of(data), len(data)) for name, data in sorted(files.items()))
        fitted = msgspec.structs.replace(fitted, beside=listed)
        raw = canonical(fitted)
        room = _room_beside(fitted, size) if files and limit is not None else 0
        if attempt and len(raw) <= size and room <= reserve:
            filled = msgspec.structs.replace(fitted, fill="0" * (size - len(raw)))
            return BundlePlan(filled, canonical(filled), files)
        size, reserve = max(size, len(raw)), max(reserve, room)
        least = MINIMUM_ROOM + 4 * size + reserve
        if limit is not None and limit < least:
            return least
        if size > MAX_MANIFEST or (limit or 0) > MAX_SIZE:
            raise UsageError(
                "invalid-size", "the bundle is too large for one manifest; pack fewer references at a time"
            )
    raise AssertionError("unreachable")


def _room_beside(manifest: BundleManifest, manifest_size: int) -> int:
    """What lies beside the first volume of a set: the files for people, `manifest.json`, signature, checksums."""
    names = [manifest.file_name(number) for number in range(1, len(manifest.volumes) + 1)]
    names += [*(file.name for file in manifest.beside), MANIFEST_FILE, SIGNATURE_FILE]
    checksums = sum(len(name) + _CHECKSUM_LINE for name in names)
    return sum(file.size for file in manifest.beside) + manifest_size + SIGNATURE_SIZE + checksums


def split(
    blobs: Sequence[Blob],
    limit: int | None,
    manifest_size: int,
    held: Collection[int] = (),
    reserve: int = 0,
) -> list[list[Segment]]:
    """Fill volumes with blobs in order, without those that are held by the site.

    The last record of a volume takes all the room that is left; the first volume leaves `reserve` bytes free.
    """
    capacity = (MAX_SIZE if limit is None else limit) - volume_size([manifest_size])
    volumes: list[list[Segment]] = [[]]
    room = capacity - reserve
    for number, blob in enumerate(blobs):
        if number in held:
            continue
        offset = 0
        while offset < blob.size or not blob.size:
            rest = blob.size - offset
            if room < RECORD_COST + min(1, rest):
                volumes.append([])
                room = capacity
                if len(volumes) > MAX_VOLUMES:
                    raise UsageError("invalid-size", f"the bundle would have more than {MAX_VOLUMES} volumes")
            length = min(rest, room - RECORD_COST)
            volumes[-1].append(Segment(Kind.BLOB, number, offset, length))
            room -= RECORD_COST + length
            offset += length
            if not rest:
                break
    return volumes
