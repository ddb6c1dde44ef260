"""The lock inside a bundle that has no files beside it: a stream, or volumes that are encrypted.

It is an artifact like the tool, signed and repaired with the rest. `unpack` makes `isthmus.lock` of it and keeps
neither its name nor its blobs, so that it is never among the site's images or in a receipt. Not here: the lock
beside plain volumes, and its way into the store (`documents`).
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus.bundle.beside import replace
from isthmus.bundle.documents import LOCK, MAX_LOCK
from isthmus.bundle.manifest import BundleManifest, CarriedReference
from isthmus.bundle.medium import open_regular
from isthmus.bundle.planning import LOCK_PREFIX, BundleReference
from isthmus.bundle.stage import Stage
from isthmus.errors import IncompleteError, IsthmusError, VerificationError
from isthmus.oci import Descriptor, Digest, parse_manifest
from isthmus.oci.content import CHUNK
from isthmus.oci.descriptor import EMPTY_JSON, OCI_MANIFEST
from isthmus.store import Store

KIND: Final = "lock"
ARTIFACT_TYPE: Final = "application/vnd.isthmus.lock.v1"
_NAME: Final = f"{LOCK_PREFIX}isthmus:1"
_BYTES: Final = "application/octet-stream"
_MAX_MANIFEST: Final = 64 * 1024


def store_lock(store: Store, raw: bytes) -> BundleReference:
    """Write the lock's blobs into the store, without a name there; what `plan_bundle` is to carry first."""
    layer = _described(store, raw, _BYTES) | {"annotations": {"org.opencontainers.image.title": LOCK}}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": _described(store, b"{}", EMPTY_JSON),
        "layers": [layer],
    }
    manifest = parse_manifest(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    store.put_manifest(_NAME.partition(":")[0], manifest)
    return BundleReference(_NAME, manifest.descriptor(), KIND)


def _described(store: Store, data: bytes, media_type: str) -> dict[str, object]:
    blob = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    with store.write_blob(_NAME.partition(":")[0], blob) as writer:
        for start in range(writer.offset, len(data), CHUNK):
            writer.write(memoryview(data)[start : start + CHUNK])
        writer.commit()
    return {"mediaType": media_type, "digest": str(blob.digest), "size": blob.size}


def is_lock(reference: CarriedReference) -> bool:
    """Whether a reference is the lock, and nothing that the store is to have by name."""
    return reference.kind == KIND and reference.name.startswith(LOCK_PREFIX)


def locks_alone(manifest: BundleManifest) -> frozenset[int]:
    """The blobs that nothing but the lock needs: they stay out of the store."""
    theirs = {blob for reference in manifest.references if is_lock(reference) for blob in reference.blobs}
    others = {blob for reference in manifest.references if not is_lock(reference) for blob in reference.blobs}
    return frozenset(theirs - others)


def take_lock(stage: Stage) -> None:
    """Keep the lock that a whole staged bundle holds, for `publish_lock`. What is no lock is left alone."""
    for reference in stage.manifest.references:
        if is_lock(reference):
            with suppress(IsthmusError):
                root = parse_manifest(_read(stage, reference.digest, _MAX_MANIFEST))
                if len(root.layers) == 1:
                    data = _read(stage, root.layers[0].digest, MAX_LOCK)
                    replace(stage.staging.path / LOCK, data)


def _read(stage: Stage, digest: Digest, limit: int) -> bytes:
    numbers = {blob.digest: number for number, blob in enumerate(stage.manifest.blobs)}
    path: Path | None = stage.path_of(numbers[digest]) if digest in numbers else None
    if path is None or stage.manifest.blobs[numbers[digest]].size > limit:
        raise IncompleteError("not-found", f"the bundle has no {digest} of this size")
    with open_regular(path) as file:
        data = file.at(0, limit)
    if Digest.of(data, digest.algorithm) != digest:
        raise VerificationError("digest-mismatch", f"{digest} has changed")
    return data
