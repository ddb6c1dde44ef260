"""Small images and layouts for the tests of this room, made from bytes."""

import io
import json
import tarfile
from pathlib import Path

import msgspec

from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from isthmus.store import Store

REPOSITORY = "docker.io/library/nginx"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
_encode = msgspec.json.Encoder(enc_hook=str).encode


def describe(data: bytes, media_type: str = LAYER, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data, algorithm), size=len(data))


def put_blob(store: Store, data: bytes, media_type: str = LAYER, algorithm: str = "sha256") -> Descriptor:
    blob = describe(data, media_type, algorithm)
    with store.write_blob(REPOSITORY, blob) as writer:
        writer.write(memoryview(data)[writer.offset :])
        writer.commit()
    return blob


def manifest(
    config: Descriptor, layers: list[Descriptor], subject: Descriptor | None = None, kind: str = ""
) -> Manifest:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": layers,
    }
    if subject:
        document |= {"subject": subject, "artifactType": kind, "annotations": {"made": "here"}}
    return parse_manifest(_encode(document))


def index_of(*manifests: Descriptor) -> Manifest:
    return parse_manifest(_encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}))


def put_image(store: Store, word: str, tag: str = "", repository: str = REPOSITORY) -> Manifest:
    """A real image of one layer with one file, whose content is the word."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("word")
        member.size = len(word)
        archive.addfile(member, io.BytesIO(word.encode()))
    layer = put_blob(store, tar.getvalue())
    rootfs = {"type": "layers", "diff_ids": [layer.digest]}
    config_bytes = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    config = put_blob(store, config_bytes, CONFIG)
    image = manifest(config, [layer])
    store.put_manifest(repository, image, tag)
    return image


def put_referrer(store: Store, subject: Manifest, kind: str = "application/vnd.example.signature") -> Manifest:
    config = put_blob(store, b"{}", "application/vnd.oci.empty.v1+json")
    referrer = manifest(config, [put_blob(store, b"signed " + kind.encode())], subject.descriptor(), kind)
    store.put_manifest(REPOSITORY, referrer)
    return referrer


def tree(path: Path) -> dict[str, bytes]:
    """Every file of the layout proper, without what is ours beside it."""
    found = {"oci-layout": (path / "oci-layout").read_bytes(), "index.json": (path / "index.json").read_bytes()}
    for file in sorted((path / "blobs").rglob("*")):
        if file.is_file():
            found[str(file.relative_to(path))] = file.read_bytes()
    return found
