"""Fitting blobs into volumes whose sizes are known to the byte before any blob is read.

Every volume carries the manifest, which describes how the volumes are filled, so that each depends on the
other. Not here: which blobs there are (`planning`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import msgspec

from isthmus.bundle.layout import RECORD_COST, Kind, volume_size
from isthmus.bundle.manifest import (
    MAX_MANIFEST,
    MAX_SIZE,
    MAX_VOLUMES,
    Blob,
    BundleManifest,
    Segment,
    VolumeTable,
    bundle_id,
    canonical,
)
from isthmus.bundle.parity import with_parity
from isthmus.errors import UsageError

MINIMUM_ROOM: Final = 64 * 1024
"""Bytes of a volume that must be left beside four times the manifest."""


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """A manifest, its canonical bytes, and so everything about the bundle but the payloads."""

    manifest: BundleManifest
    raw: bytes

    @property
    def bundle(self) -> str:
        """The bundle's id, 64 hexadecimal digits."""
        return bundle_id(self.raw).hex()

    @property
    def size(self) -> int:
        """Bytes of all volumes together."""
        return sum(volume.size for volume in self.manifest.volumes)


def fit(manifest: BundleManifest, limit: int | None, parity: float = 0) -> BundlePlan:
    """The plan within the limit, with so many per cent of parity.

    Where there is none, say the least limit for which there is one.
    """
    plan = _try_fit(manifest, limit, parity)
    if isinstance(plan, BundlePlan):
        return plan
    least: BundlePlan | int = plan
    while isinstance(least, int):
        plan, least = least, _try_fit(manifest, least, parity)
    raise UsageError(
        "invalid-size",
        f"volumes of {limit} bytes are too small: each carries the manifest, and needs at least {plan} bytes",
    )


def _try_fit(manifest: BundleManifest, limit: int | None, percent: float) -> BundlePlan | int:
    """Split the blobs so that every volume holds the manifest that describes the split; a size to try instead.

    The manifest's size changes the split and the split the manifest's size, so that the size grows until
    the manifest fits, and `fill` takes up what is then left.
    """
    size = 0
    for attempt in count():
        volumes = split(manifest.blobs, limit if attempt else None, size, manifest.held())
        tables = tuple(
            VolumeTable(tuple(v), volume_size([size, *(record.length for record in v)])) for v in volumes
        )
        parity = None
        if percent and attempt:
            parity, tables = with_parity(tables, percent, limit, size)
        fitted = msgspec.structs.replace(manifest, volumes=tables, volume_size=limit, parity=parity)
        raw = canonical(fitted)
        if attempt and len(raw) <= size:
            filled = msgspec.structs.replace(fitted, fill="0" * (size - len(raw)))
            return BundlePlan(filled, canonical(filled))
        size = max(size, len(raw))
        least = MINIMUM_ROOM + 4 * size
        if limit is not None and limit < least:
            return least
        if size > MAX_MANIFEST or (limit or 0) > MAX_SIZE:
            raise UsageError(
                "invalid-size", "the bundle is too large for one manifest; pack fewer references at a time"
            )
    raise AssertionError("unreachable")


def split(
    blobs: Sequence[Blob], limit: int | None, manifest_size: int, held: Collection[int] = ()
) -> list[list[Segment]]:
    """Fill volumes with blobs in order, without those that are held by the site.

    The last record of a volume takes all the room that is left.
    """
    capacity = (MAX_SIZE if limit is None else limit) - volume_size([manifest_size])
    volumes: list[list[Segment]] = [[]]
    room = capacity
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
