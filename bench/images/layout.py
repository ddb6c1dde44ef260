"""An OCI image layout, written: configurations, manifests, an index for several platforms, index.json.

Only what the generator needs; the product has its own store, and is tested against this one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from bench.images.layers import Layer
from bench.images.table import ImageSpec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "2023-06-10T00:00:00Z"

Descriptor = dict[str, Any]


class Layout:
    """A layout being filled; close() writes the list of what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = path / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)
        self._entries: list[Descriptor] = []
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')

    def add_image(
        self, spec: ImageSpec, tag: str, layers: list[Layer], platforms: list[str]
    ) -> tuple[Descriptor, int]:
        """Write an image; return its descriptor and the bytes of everything it consists of."""
        manifests = [self._manifest(spec, layers, platform) for platform in platforms]
        total = sum(layer.size for layer in layers) + sum(size for _, size in manifests)
        top = manifests[0][0]
        if len(manifests) > 1:
            listed = [
                {**descriptor, "platform": {"architecture": platform, "os": "linux"}}
                for (descriptor, _), platform in zip(manifests, platforms, strict=True)
            ]
            top = self._document(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})
            total += top["size"]
        self._entries.append({**top, "annotations": {REF_NAME: f"{spec.name}:{tag}"}})
        return top, total

    def close(self) -> None:
        """Write index.json."""
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self._entries}
        (self.path / "index.json").write_text(json.dumps(document, indent=1) + "\n")

    def _manifest(self, spec: ImageSpec, layers: list[Layer], platform: str) -> tuple[Descriptor, int]:
        config = self._document(CONFIG, _config(spec, layers, platform))
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
        descriptor = self._document(MANIFEST, document)
        return descriptor, config["size"] + descriptor["size"]

    def _document(self, media_type: str, document: dict[str, Any]) -> Descriptor:
        raw = json.dumps(document, separators=(",", ":")).encode()
        digest = hashlib.sha256(raw).hexdigest()
        (self.blobs / digest).write_bytes(raw)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(raw)}


def _config(spec: ImageSpec, layers: list[Layer], platform: str) -> dict[str, Any]:
    labels = {"org.opencontainers.image.title": spec.name}
    steps = [{"created": CREATED, "created_by": f"bench.images layer {n}"} for n in range(len(layers))]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "created": CREATED,
        "architecture": platform,
        "os": "linux",
        "config": {"Env": [f"PATH={path}"], "Cmd": list(spec.command), "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": steps,
    }
