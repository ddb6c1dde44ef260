"""Artifacts of Isthmus' own, the tool and the lock: files by title, one layer each, always the same bytes.

Not here: what is in them (`tool.artifact`, `carried_lock`), and things of the platform (`content`).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from isthmus.bundle.ahead import StoreAhead
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.content import CHUNK
from isthmus.oci.descriptor import EMPTY_JSON, OCI_MANIFEST
from isthmus.store import Store

TOOL_TYPE: Final = "application/vnd.isthmus.tool.v1"
TITLE: Final = "org.opencontainers.image.title"
_BYTES: Final = "application/octet-stream"


def put_artifact(
    store: Store | StoreAhead,
    repository: str,
    artifact_type: str,
    files: Iterable[tuple[str, bytes | Path]],
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Write blobs and manifest into the store, which names it nowhere yet. Raises `io-failed`."""
    layers = [
        _put(store, repository, content, _BYTES) | {"annotations": {TITLE: title}} for title, content in files
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": _put(store, repository, b"{}", EMPTY_JSON),
        "layers": layers,
    }
    manifest = parse_manifest(compact(document | ({"annotations": dict(annotations)} if annotations else {})))
    store.put_manifest(repository, manifest)
    return manifest


def is_own(manifest: Manifest, artifact_type: str) -> bool:
    """Whether it is of this shape, with which nothing can be run: plain files, and no config."""
    config = manifest.config.media_type if manifest.config else ""
    plain = all(layer.media_type == _BYTES for layer in manifest.layers)
    return not manifest.is_index and manifest.artifact_type == artifact_type and config == EMPTY_JSON and plain


def compact(document: Any) -> bytes:
    """JSON with sorted keys and no blanks."""
    return msgspec.json.encode(document, order="sorted")


def _put(store: Store | StoreAhead, repository: str, content: bytes | Path, media_type: str) -> dict[str, Any]:
    data = content if isinstance(content, bytes) else content.read_bytes()
    blob = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    with store.write_blob(repository, blob) as writer:
        for start in range(writer.offset, len(data), CHUNK):
            writer.write(memoryview(data)[start : start + CHUNK])
        writer.commit()
    return {"mediaType": blob.media_type, "digest": str(blob.digest), "size": blob.size}
