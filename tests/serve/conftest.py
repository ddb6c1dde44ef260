"""A small store that has one of everything, and a server over it."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest, Platform, parse_manifest
from isthmus.oci.descriptor import DOCKER_MANIFEST, EMPTY_JSON, OCI_INDEX, OCI_MANIFEST
from isthmus.serve import ServerThread
from isthmus.store import Store, StoredReference

LAYER = bytes(range(256)) * 40
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["errors"][0]["code"])


class Client:
    """One connection that shows everything the server says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._connection = http.client.HTTPConnection(address, timeout=20)

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        self._connection.request(method, path, body=body, headers=headers or {})
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def head(self, path: str, **headers: str) -> Answer:
        return self.request("HEAD", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def close(self) -> None:
        self._connection.close()


def put_blob(store: Store, data: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
    blob = Descriptor(media_type, Digest.of(data), len(data))
    with store.write_blob("x", blob) as writer:
        writer.write(memoryview(data)[writer.offset :])
        writer.commit()
    return {"mediaType": media_type, "digest": str(blob.digest), "size": len(data)}


def put_image(
    store: Store,
    layers: list[bytes],
    media_type: str = OCI_MANIFEST,
    subject: Manifest | None = None,
    artifact_type: str = "",
    **config: Any,
) -> Manifest:
    config_type, layer_type = _PARTS[media_type]
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": put_blob(store, json.dumps(config).encode(), EMPTY_JSON if artifact_type else config_type),
        "layers": [put_blob(store, layer, layer_type) for layer in layers],
    }
    if artifact_type:
        document["artifactType"] = artifact_type
        document["annotations"] = {"about": artifact_type}
    if subject:
        document["subject"] = _entry(subject)
    manifest = parse_manifest(json.dumps(document, indent=3).encode())
    store.put_manifest("x", manifest)
    return manifest


def put_index(store: Store, children: list[tuple[Manifest, str]]) -> Manifest:
    entries = []
    for child, platform in children:
        parsed = Platform.parse(platform)
        entries.append(_entry(child) | {"platform": {"os": parsed.os, "architecture": parsed.architecture}})
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    manifest = parse_manifest(json.dumps(document).encode())
    store.put_manifest("x", manifest)
    return manifest


def _entry(manifest: Manifest) -> dict[str, Any]:
    return {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": manifest.size}


_PARTS = {
    OCI_MANIFEST: (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar",
    ),
    DOCKER_MANIFEST: (
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
}


@dataclass(frozen=True)
class Content:
    """What the store holds."""

    path: Path
    pause: Manifest
    amd64: Manifest
    arm64: Manifest
    index: Manifest
    docker: Manifest
    signature: Manifest
    sbom: Manifest


def fill(path: Path) -> Content:
    with Store.create(path) as store:
        pause = put_image(store, [LAYER], os="linux")
        amd64 = put_image(store, [LAYER, b"amd64"], os="linux", architecture="amd64")
        arm64 = put_image(store, [LAYER, b"arm64"], os="linux", architecture="arm64")
        index = put_index(store, [(amd64, "linux/amd64"), (arm64, "linux/arm64")])
        docker = put_image(store, [b"docker"], DOCKER_MANIFEST, os="linux")
        signature = put_image(store, [b"signed"], subject=pause, artifact_type=SIGNATURE)
        sbom = put_image(store, [b"sbom"], subject=pause, artifact_type="application/spdx+json")
        named = {
            "registry.k8s.io/pause:3.10": pause,
            "registry.k8s.io/pause:3.9": index,
            "docker.io/library/nginx:latest": index,
            f"quay.io/a/b@{docker.digest}": docker,
            "localhost:5000/team/app:Edge": docker,
        }
        store.set_references(StoredReference(name, manifest.descriptor()) for name, manifest in named.items())
    return Content(path, pause, amd64, arm64, index, docker, signature, sbom)


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return fill(tmp_path_factory.mktemp("serve") / "store")


@pytest.fixture(scope="session")
def server(content: Content) -> Iterator[ServerThread]:
    thread = ServerThread(content.path, MirrorMap())
    yield thread
    thread.stop()


@pytest.fixture
def client(server: ServerThread) -> Iterator[Client]:
    client = Client(server.address)
    yield client
    client.close()
