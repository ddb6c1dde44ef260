"""What one reference needs: its manifests, their blobs, and what refers to them (signatures, SBOMs).

Reads manifests and sizes from the store, no layers. Not here: order over several references (`planning`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from isthmus.bundle.manifest import Blob
from isthmus.errors import VerificationError
from isthmus.oci import Descriptor, Digest, Manifest, Platform


class Holdings(Protocol):
    """A store, as far as it is asked what it holds."""

    def blob_size(self, digest: Digest) -> int | None:
        """Bytes of a blob, or None."""

    def blob_path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        ...

    def manifest_by_digest(self, digest: Digest) -> Manifest:
        """Read and verified."""
        ...

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        """What names this digest as its subject."""
        ...


@dataclass(slots=True)
class Needs:
    """Blobs in the order in which an image is read (manifests included), and what the store lacks."""

    blobs: list[Blob] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)
    missing: list[Digest] = field(default_factory=list)


def needs_of(store: Holdings, repository: str, root: Descriptor, platforms: Collection[Platform]) -> Needs:
    """Walk from the root down, each thing once. Raises VerificationError (`damaged-store`)."""
    needs = Needs()
    seen: set[Digest] = set()
    stack = [root]
    while stack:
        descriptor = stack.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        if not _take(store, descriptor, needs) or not descriptor.is_manifest:
            continue
        manifest = store.manifest_by_digest(descriptor.digest)
        needs.manifests.append(manifest)
        parts = [blob for blob in manifest.blobs if not _left_out(store, blob)]
        children = _children(store, manifest, platforms)
        referrers = store.referrers(repository, descriptor.digest)
        stack.extend(reversed([*parts, *children, *referrers]))
    return needs


def _take(store: Holdings, descriptor: Descriptor, needs: Needs) -> bool:
    size = store.blob_size(descriptor.digest)
    if size is None:
        needs.missing.append(descriptor.digest)
        return False
    if size != descriptor.size:
        raise VerificationError(
            "damaged-store",
            f"the store holds {size} bytes of {descriptor.digest}, which has {descriptor.size}",
            where=str(store.blob_path(descriptor.digest)),
        )
    needs.blobs.append(Blob(descriptor.digest, size))
    return True


def _children(store: Holdings, manifest: Manifest, platforms: Collection[Platform]) -> tuple[Descriptor, ...]:
    """Those for the platforms asked for; without any, those that are there, or all where none is."""
    wanted = manifest.select(platforms)
    if platforms:
        return wanted
    return tuple(child for child in wanted if store.blob_size(child.digest) is not None) or wanted


def _left_out(store: Holdings, blob: Descriptor) -> bool:
    """Layers that registries need not hold, and that were not pulled."""
    return blob.is_foreign and store.blob_size(blob.digest) is None
