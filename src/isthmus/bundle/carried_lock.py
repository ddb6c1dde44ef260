"""The lock inside a bundle that has no files beside it: a stream, or volumes that are encrypted.

It is an artifact like the tool, signed and repaired with the rest. `unpack` makes `isthmus.lock` of it and keeps
neither its name nor its blobs, so that it is never among the site's images or in a receipt. Not here: the lock
beside plain volumes, and its way into the store (`documents`).
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from isthmus.bundle.ahead import StoreAhead
from isthmus.bundle.beside import replace
from isthmus.bundle.documents import LOCK, MAX_LOCK
from isthmus.bundle.manifest import BundleManifest, CarriedReference
from isthmus.bundle.own_artifact import put_artifact
from isthmus.bundle.planning import LOCK_PREFIX, BundleReference
from isthmus.errors import IsthmusError
from isthmus.oci import Digest
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.bundle.stage import Stage

KIND: Final = "lock"
ARTIFACT_TYPE: Final = "application/vnd.isthmus.lock.v1"
_NAME: Final = f"{LOCK_PREFIX}isthmus:1"
_MAX_MANIFEST: Final = 64 * 1024


def store_lock(store: Store | StoreAhead, raw: bytes) -> BundleReference:
    """Write the lock's blobs into the store, without a name there; what `plan_bundle` is to carry first."""
    manifest = put_artifact(store, _NAME.partition(":")[0], ARTIFACT_TYPE, [(LOCK, raw)])
    return BundleReference(_NAME, manifest.descriptor(), KIND)


def is_lock(reference: CarriedReference) -> bool:
    """Whether a reference is the lock, and nothing that the store is to have by name."""
    return reference.kind == KIND and reference.name.startswith(LOCK_PREFIX)


def locks_alone(manifest: BundleManifest) -> frozenset[int]:
    """The blobs that nothing but the lock needs: they stay out of the store."""
    theirs = {blob for reference in manifest.references if is_lock(reference) for blob in reference.blobs}
    others = {blob for reference in manifest.references if not is_lock(reference) for blob in reference.blobs}
    return frozenset(theirs - others)


def lock_in(store: Store, manifest: BundleManifest) -> bytes | None:
    """The lock of a bundle whose blobs a store has or reads; None where there is none, or it is no lock."""
    for reference in filter(is_lock, manifest.references):
        with suppress(IsthmusError):
            layers = store.manifest_by_digest(reference.digest).layers
            if len(layers) == 1 and layers[0].size <= MAX_LOCK:
                data = bytearray(layers[0].size)
                with store.open_blob("", layers[0]) as reader:
                    filled = 0
                    while filled < len(data) and (count := reader.readinto(memoryview(data)[filled:])):
                        filled += count
                if Digest.of(data, layers[0].digest.algorithm) == layers[0].digest:
                    return bytes(data)
    return None


def take_lock(stage: "Stage") -> None:
    """Keep the lock that a whole staged bundle holds, for `publish_lock`. What is no lock is left alone."""
    from isthmus.bundle.shelf import BundleShelf  # not for `pack`, which only writes

    for reference in filter(is_lock, stage.manifest.references):
        sizes = dict(stage.manifest.blobs)
        with suppress(IsthmusError):
            shelf = BundleShelf(stage.manifest, stage.path_of)
            if sizes.get(reference.digest, 0) > _MAX_MANIFEST:
                continue
            layers = shelf.root(reference).layers
            if len(layers) == 1 and sizes.get(layers[0].digest, 0) <= MAX_LOCK:
                replace(stage.staging.path / LOCK, shelf.read(layers[0]))
