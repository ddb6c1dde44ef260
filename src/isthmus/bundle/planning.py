"""Planning a bundle: which blobs the references need, and in which order.

A plan is made from the store's manifests and sizes alone, before any layer is read, and is the same for the
same store, references and options. Not here: how blobs fill volumes (`fitting`), and writing (`packing`).
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from isthmus.bundle.ahead import StoreAhead
from isthmus.bundle.baseline import Held
from isthmus.bundle.fitting import BundlePlan, Companions, fit, nothing_beside
from isthmus.bundle.manifest import (
    BASELINE_FEATURE,
    FORMAT,
    MAX_SIZE,
    NAME,
    VERSION,
    Blob,
    BundleManifest,
    CarriedReference,
    ManifestBlob,
)
from isthmus.bundle.needs import Needs, needs_of
from isthmus.errors import IncompleteError, UsageError
from isthmus.oci import Descriptor, Platform, Reference
from isthmus.store import Store

TOOL_PREFIX: Final = "isthmus.internal/tool/"
"""Begins the names of what is Isthmus itself, and not the platform's."""

LOCK_PREFIX: Final = "isthmus.internal/lock/"
"""Begins the name of the lock, where it is carried inside a bundle."""

_IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)


@dataclass(frozen=True, slots=True)
class BundleReference:
    """What is to be carried: a name as the platform writes it, what it resolved to, and for which platforms.

    With platforms, the children of an index that are for them must all be in the store; without, those that
    the store holds are taken, and at least one must be there.
    """

    name: str
    descriptor: Descriptor
    kind: str = "image"
    platforms: tuple[Platform, ...] = ()


def plan_bundle(
    store: Store | StoreAhead,
    references: Sequence[BundleReference] | None = None,
    volume_size: int | None = None,
    name: str = "bundle",
    since: Held | None = None,
    parity: float = 0,
    sequence: int | None = None,
    expires: str | None = None,
    first: Sequence[BundleReference] = (),
    companions: Companions = nothing_beside,
) -> BundlePlan:
    """Plan a bundle of these references, or of all that the store has (but for the tool).

    With `since`, what the site says it holds is listed and not carried. `volume_size` is the most bytes that a
    volume may have; volumes that a blob spans are filled exactly. `parity` is in per cent of what is carried.
    `sequence` grows with every bundle of this name for a site; `expires` (RFC 3339, UTC) ends its use.
    What is `first` is carried besides and stands in front. `companions` makes the files beside the first volume.

    Raises UsageError `wrong-usage` (nothing to carry, an unusable name) or `invalid-size` (volumes too
    small; the message says the minimum), IncompleteError `missing-content` with everything that the store
    lacks, VerificationError `damaged-store`.
    """
    if not NAME.fullmatch(name):
        raise UsageError("wrong-usage", f"{name[:100]!r} cannot name a bundle's files")
    wanted = _all_of(store) if references is None else list(references)
    if not wanted:
        raise UsageError("wrong-usage", "there is nothing to carry", where=str(store.path))
    found = _gather(store, [*first, *sorted(wanted, key=lambda ref: (ref.name, ref.kind))])
    manifest = _without_volumes(name, *found)
    if since is not None:
        baseline = since.baseline(manifest.blobs)
        manifest = msgspec.structs.replace(manifest, baseline=baseline, requires=(BASELINE_FEATURE,))
    if not 0 <= parity <= 100:
        raise UsageError("invalid-size", f"parity is between 0 and 100 per cent, not {parity:g}")
    if sequence is not None and not 0 <= sequence <= MAX_SIZE:
        raise UsageError("wrong-usage", f"{sequence} is no sequence number")
    manifest = msgspec.structs.replace(manifest, sequence=sequence, expires=expires)
    return fit(manifest, volume_size, parity, companions)


def _all_of(store: Store | StoreAhead) -> list[BundleReference]:
    """Every reference of the store; what has an image's config is an image."""
    result = []
    for stored in store.references():
        if stored.name.startswith((TOOL_PREFIX, LOCK_PREFIX)):
            continue
        kind = "image"
        if not stored.descriptor.is_index and store.blob_size(stored.descriptor.digest) is not None:
            config = store.manifest_by_digest(stored.descriptor.digest).config
            kind = "image" if config is None or config.media_type in _IMAGE_CONFIGS else "artifact"
        result.append(BundleReference(stored.name, stored.descriptor, kind))
    return result


def _gather(
    store: Store | StoreAhead, references: Iterable[BundleReference]
) -> tuple[tuple[Blob, ...], tuple[ManifestBlob, ...], tuple[CarriedReference, ...]]:
    """All blobs in order of first need, and what needs them."""
    numbers: dict[Blob, int] = {}
    manifests: dict[int, ManifestBlob] = {}
    carried: dict[tuple[str, str], CarriedReference] = {}
    missing: list[str] = []
    for reference in references:
        repository = Reference.parse(reference.name).repository
        needs = needs_of(store, repository, reference.descriptor, reference.platforms)
        missing.extend(f"{reference.name} needs {digest}" for digest in needs.missing)
        for blob in needs.blobs:
            numbers.setdefault(blob, len(numbers))
        _note_manifests(numbers, manifests, needs)
        entry = _carried(reference, sorted(numbers[blob] for blob in needs.blobs))
        if carried.setdefault((entry.kind, entry.name), entry) != entry:
            raise UsageError("wrong-usage", f"{entry.name} was asked for twice, and means two things")
    if missing:
        raise IncompleteError(
            "missing-content",
            f"the store lacks {len(missing)} things that must be carried: {'; '.join(missing[:3])}",
            where=str(store.path),
            hint="run `isthmus pull` until it says that nothing is missing",
            items=missing,
        )
    return tuple(numbers), tuple(manifests[number] for number in sorted(manifests)), tuple(carried.values())


def _note_manifests(numbers: dict[Blob, int], manifests: dict[int, ManifestBlob], needs: Needs) -> None:
    by_digest = {blob.digest: numbers[blob] for blob in needs.blobs}
    for manifest in needs.manifests:
        number = by_digest[manifest.digest]
        subject = by_digest.get(manifest.subject.digest) if manifest.subject else None
        known = manifests.get(number)
        if known is None or known.subject is None:
            manifests[number] = ManifestBlob(number, manifest.media_type, subject)


def _carried(reference: BundleReference, blobs: list[int]) -> CarriedReference:
    return CarriedReference(
        name=reference.name,
        kind=reference.kind,
        digest=reference.descriptor.digest,
        media_type=reference.descriptor.media_type,
        size=reference.descriptor.size,
        blobs=tuple(blobs),
        platforms=tuple(sorted(str(platform) for platform in reference.platforms)),
    )


def _without_volumes(
    name: str,
    blobs: tuple[Blob, ...],
    manifests: tuple[ManifestBlob, ...],
    references: tuple[CarriedReference, ...],
) -> BundleManifest:
    return BundleManifest(
        format=FORMAT,
        version=VERSION,
        name=name,
        blobs=blobs,
        manifests=manifests,
        references=references,
        volumes=(),
        volume_size=None,
        fill="",
        requires=(),
        created=created_time(),
    )


def created_time() -> str | None:
    """SOURCE_DATE_EPOCH as RFC 3339, or None: no other clock goes into what must be reproducible."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if text else None
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError("invalid-config", "SOURCE_DATE_EPOCH is not a number of seconds") from error
