"""Stores with small images in them, and ways to look at and spoil what was made of them."""

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from isthmus.bundle import BundlePlan, KeyPaths, PackResult, generate_keys, load_private_key, pack, plan_bundle
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from isthmus.store import Store

MakeStore = Callable[..., Store]


def put_blob(
    store: Store, data: bytes, media_type: str = "application/vnd.oci.image.layer.v1.tar+gzip"
) -> Descriptor:
    blob = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    with store.write_blob("any/thing", blob) as writer:
        writer.write(memoryview(data)[writer.offset :])
        writer.commit()
    return blob


def put_image(
    store: Store, repository: str, tag: str, layers: Sequence[bytes], subject: Descriptor | None = None
) -> Manifest:
    config = put_blob(
        store, json.dumps({"of": repository, "tag": tag}).encode(), "application/vnd.oci.image.config.v1+json"
    )
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": as_json(config),
        "layers": [as_json(put_blob(store, layer)) for layer in layers],
    }
    if subject:
        document["subject"] = as_json(subject)
    manifest = parse_manifest(json.dumps(document).encode())
    store.put_manifest(repository, manifest, tag)
    return manifest


def put_index(store: Store, repository: str, tag: str, children: Sequence[tuple[Manifest, str]]) -> Manifest:
    entries = []
    for child, platform in children:
        system, machine = platform.split("/")
        entries.append(as_json(child.descriptor()) | {"platform": {"os": system, "architecture": machine}})
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    manifest = parse_manifest(json.dumps(document).encode())
    store.put_manifest(repository, manifest, tag)
    return manifest


def as_json(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}


def fill(store: Store, seed: int = 1) -> None:
    """Images with shared layers, a multi-platform index, a referrer, an empty layer, a large one."""
    chance = random.Random(seed)
    base = chance.randbytes(40_000)
    app = put_image(store, "registry.example/team/app", "1.0", [base, chance.randbytes(150_000)])
    put_image(store, "registry.example/team/app", "", [b"a signature"], subject=app.descriptor())
    put_image(store, "docker.io/library/other", "2", [base, b"", chance.randbytes(3_000)])
    children = [
        (put_image(store, "quay.io/org/multi", "", [chance.randbytes(9_000)]), "linux/amd64"),
        (put_image(store, "quay.io/org/multi", "", [chance.randbytes(400_000)]), "linux/arm64"),
    ]
    put_index(store, "quay.io/org/multi", "v1", children)


def tree(path: Path) -> dict[str, str]:
    """Every file of a store that counts, by its bytes; the index database and locks can be thrown away."""
    result = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        counts = name.startswith("blobs/") or name in ("index.json", "oci-layout")
        if file.is_file() and counts:
            result[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return result


def everything(path: Path) -> dict[str, tuple[int, bytes]]:
    """A directory tree to the last byte and time of change."""
    if not path.exists():
        return {}
    found = {str(p.relative_to(path)): p for p in sorted(path.rglob("*"))}
    return {name: (os.stat(p).st_mtime_ns, p.read_bytes() if p.is_file() else b"") for name, p in found.items()}


class Bundle:
    """A packed bundle and where it came from."""

    def __init__(self, place: Path, volume_size: int | None, seed: int, keys: KeyPaths | None = None) -> None:
        self.source = place / "source"
        self.out = place / "out"
        with Store.create(self.source) as store:
            fill(store, seed)
        self.tree = tree(self.source)
        with Store.open(self.source) as store:
            self.plan: BundlePlan = plan_bundle(store, volume_size=volume_size)
            key = load_private_key(keys.private) if keys else None
            self.result: PackResult = pack(self.plan, store, self.out, key)
        self.volumes = [self.out / volume.file for volume in self.result.volumes]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPaths:
    return generate_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPaths:
    return generate_keys(tmp_path_factory.mktemp("keys"), "other")


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Bundle:
    """Several signed volumes; nobody may change them."""
    return Bundle(tmp_path_factory.mktemp("signed"), 100_000, seed=1, keys=keys)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Bundle:
    """Another bundle, signed with the same key."""
    return Bundle(tmp_path_factory.mktemp("foreign"), 100_000, seed=2, keys=keys)
