"""Small content for tests of the registry room: blobs, manifests, and reading and writing them."""

import json
from typing import Any

from isthmus.oci import BlobReader, BlobWriter, Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from isthmus.registry import ConnectionOptions, FixedCredentials

OCTETS = "application/octet-stream"
EMPTY = b"{}"


def options(**changes: Any) -> ConnectionOptions:
    """Quick and anonymous; nothing of the machine's own configuration is read."""
    quick: dict[str, Any] = {
        "backoff": 0.01, "retries": 2, "connect_timeout": 5, "read_timeout": 5, "longest_wait": 2,
        "credentials": FixedCredentials(None),
    }  # fmt: skip
    return ConnectionOptions(**(quick | changes))


def blob(data: bytes) -> Descriptor:
    return Descriptor(media_type=OCTETS, digest=Digest.of(data), size=len(data))


def image(*layers: bytes, subject: Manifest | None = None, artifact_type: str = "", note: str = "") -> Manifest:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", EMPTY),
        "layers": [_descriptor(OCTETS, layer) for layer in layers],
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    if note:
        document["annotations"] = {"note": note}
    if subject is not None:
        document["subject"] = {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size}
    return parse_manifest(json.dumps(document).encode())


def index(*manifests: Manifest) -> Manifest:
    children = [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in manifests]
    return parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode())


def read(reader: BlobReader, step: int = 1 << 20) -> bytes:
    out = bytearray()
    buffer = memoryview(bytearray(step))
    with reader:
        while count := reader.readinto(buffer):
            out += buffer[:count]
    return bytes(out)


def write(writer: BlobWriter, data: bytes, step: int = 1 << 20) -> None:
    with writer:
        fill(writer, data, step)
        writer.commit()


def fill(writer: BlobWriter, data: bytes, step: int = 1 << 20) -> None:
    for start in range(0, len(data), step):
        writer.write(memoryview(data)[start : start + step])


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": Digest.of(data), "size": len(data)}
