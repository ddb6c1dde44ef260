"""Builds small real images, indexes and artifacts from files into a store.

Deterministic: the same files give the same digests. Not a replacement for an image builder: it makes what
the demo and the tests need.
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from isthmus.oci import Descriptor, Digest, Manifest, Platform, Reference, parse_manifest
from isthmus.oci.descriptor import EMPTY_JSON, OCI_INDEX, OCI_MANIFEST
from isthmus.store import Store, StoredReference

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


@dataclass(frozen=True)
class Layer:
    """A compressed layer and the digest of its uncompressed form."""

    data: bytes
    diff_id: Digest

    @property
    def descriptor(self) -> Descriptor:
        """What a manifest says of it."""
        return Descriptor(media_type=LAYER_TYPE, digest=Digest.of(self.data), size=len(self.data))


def make_layer(files: Mapping[str, bytes]) -> Layer:
    """A layer with these files, sorted, owned by root, dated 1970."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(data))
    raw = plain.getvalue()
    return Layer(gzip.compress(raw, compresslevel=1, mtime=0), Digest.of(raw))


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """The bytes of such a layer, as a chart's archive has them, too."""
    return make_layer(files).data


def put_blob(store: Store, data: bytes, media_type: str) -> Descriptor:
    """Write bytes into the store."""
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    if not store.has_blob("", descriptor):
        with store.write_blob("", descriptor) as writer:
            writer.write(memoryview(data)[writer.offset :])
            writer.commit()
    return descriptor


def put_image(
    store: Store, repository: str, layers: Sequence[Layer], platform: Platform = AMD64, command: Sequence[str] = ()
) -> Manifest:
    """An image of these layers, in the store but without a name."""
    for layer in layers:
        put_blob(store, layer.data, LAYER_TYPE)
    config = {
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {"Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return put_manifest(
        store,
        repository,
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": put_blob(store, _json(config), CONFIG_TYPE),
            "layers": [layer.descriptor for layer in layers],
        },
    )


def put_index(store: Store, repository: str, children: Sequence[tuple[Manifest, Platform]]) -> Manifest:
    """An index of images for several platforms."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [child.descriptor(platform) for child, platform in children],
    }
    return put_manifest(store, repository, document)


def put_artifact(
    store: Store,
    repository: str,
    artifact_type: str,
    files: Mapping[str, bytes],
    subject: Manifest | None = None,
) -> Manifest:
    """An OCI artifact; with a subject, one that refers to it, as signatures and SBOMs do."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": put_blob(store, b"{}", EMPTY_JSON),
        "layers": [put_blob(store, data, media_type) for media_type, data in sorted(files.items())],
    }
    if subject is not None:
        document["subject"] = subject.descriptor()
    return put_manifest(store, repository, document)


def put_manifest(store: Store, repository: str, document: Mapping[str, object]) -> Manifest:
    """Write a manifest into the store, without a name."""
    manifest = parse_manifest(_json(document))
    store.put_manifest(repository, manifest)
    return manifest


def name_it(store: Store, name: str, manifest: Manifest) -> None:
    """Give a manifest a name such as `registry.k8s.io/pause:3.10`."""
    store.set_references([StoredReference(name=str(Reference.parse(name)), descriptor=manifest.descriptor())])


def filler(seed: str, size: int) -> bytes:
    """Bytes that do not compress and are the same everywhere."""
    return hashlib.shake_256(seed.encode()).digest(size)


def _json(document: object) -> bytes:
    return msgspec.json.encode(document, order="sorted", enc_hook=str)  # a Digest is a str of its own
