"""The tool and the lock in a bundle are no images: no signatures are asked of them, and no image passes as one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.bundle import (
    BundleReference,
    Demands,
    KeyPaths,
    SignedBy,
    pack,
    pack_stream,
    plan_bundle,
    unpack,
    unpack_stream,
)
from isthmus.bundle.carried_lock import store_lock
from isthmus.bundle.own_artifact import TOOL_TYPE, put_artifact
from isthmus.cli.main import run
from isthmus.errors import VerificationError
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.cosign import parse_keys
from isthmus.serve.bundle_store import lay_out
from isthmus.store import Store
from tests.bundle.conftest import as_json, put_blob, put_image
from tests.bundle.tool_fixture import small_tool
from tests.report.conftest import Signer

TOOL = "isthmus.internal/tool/isthmus:7.8.9"


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def source(tmp_path: Path, signer: Signer) -> Store:
    """A signed image, the tool, and a lock."""
    store = Store.create(tmp_path / "source")
    image = put_image(store, "x.example/a", "1", [b"a"])
    signer.simple(store, "x.example/a", image)
    return store


def own(source: Store, place: Path) -> tuple[BundleReference, BundleReference]:
    return small_tool(source, place / "wheels", 150_000).reference, store_lock(source, b"version: 1\n")


def asked(signer: Signer, pattern: str = "*") -> Demands:
    return Demands(signed=(SignedBy(parse_keys(signer.pem, "cosign.pub"), pattern, "cosign.pub"),))


@pytest.mark.parametrize("pattern", ["*", "", "isthmus.internal/*"])
def test_they_need_no_signature(source: Store, signer: Signer, tmp_path: Path, pattern: str) -> None:
    pack(plan_bundle(source, first=own(source, tmp_path)), source, tmp_path / "out")
    unpack([tmp_path / "out"], tmp_path / "site", demands=asked(signer, pattern))
    with (tmp_path / "stream").open("wb") as stream:
        pack_stream(plan_bundle(source, first=own(source, tmp_path)), source, stream)
    with (tmp_path / "stream").open("rb") as stream:
        unpack_stream(stream, tmp_path / "other", demands=asked(signer, pattern))
    for site in ("site", "other"):
        assert (tmp_path / site / "isthmus.lock").read_bytes() == b"version: 1\n"
        with Store.open(tmp_path / site) as store:
            assert [held.name for held in store.references()] == [TOOL, *_names(source)]


def _names(store: Store) -> list[str]:
    return [held.name for held in store.references() if not held.name.startswith("isthmus.internal/")]


def _like_a_tool(store: Store, config: Descriptor, layer: str, **more: object) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": TOOL_TYPE,
        "config": as_json(config),
        "layers": [as_json(put_blob(store, b"layer", layer))],
    }
    manifest = parse_manifest(json.dumps({**document, **more}).encode())
    store.put_manifest("isthmus.internal/tool/isthmus", manifest)
    return manifest


@pytest.mark.parametrize("pattern", ["*", "isthmus.internal/tool/*"])
@pytest.mark.parametrize("disguise", ["image", "image config", "layer", "another type", "index", "another name"])
def test_no_image_passes_as_one(
    source: Store, signer: Signer, tmp_path: Path, disguise: str, pattern: str
) -> None:
    empty = put_blob(source, b"{}", "application/vnd.oci.empty.v1+json")
    config = put_blob(source, b'{"os":"linux"}', "application/vnd.oci.image.config.v1+json")
    plain, layer = "application/octet-stream", "application/vnd.oci.image.layer.v1.tar+gzip"
    name, kind = TOOL, "tool"
    if disguise == "image":
        manifest = put_image(source, "isthmus.internal/tool/isthmus", "", [b"anything"])
    elif disguise == "image config":
        manifest = _like_a_tool(source, config, plain)
    elif disguise == "layer":
        manifest = _like_a_tool(source, empty, layer)
    elif disguise == "another type":
        manifest = put_artifact(source, "isthmus.internal/tool/isthmus", "application/x", [("a", b"a")])
    elif disguise == "index":
        child = put_image(source, "isthmus.internal/tool/isthmus", "", [b"anything"])
        entry = as_json(child.descriptor()) | {"platform": {"os": "linux", "architecture": "amd64"}}
        manifest = parse_manifest(
            json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.index.v1+json",
                    "artifactType": TOOL_TYPE,
                    "manifests": [entry],
                }
            ).encode()
        )
        source.put_manifest("isthmus.internal/tool/isthmus", manifest)
    else:
        name, pattern = "x.example/tool:1", pattern if pattern == "*" else "x.example/tool"
        manifest = put_artifact(source, "x.example/tool", TOOL_TYPE, [("a", b"a")])
    first = [BundleReference(name, manifest.descriptor(), kind)]
    pack(plan_bundle(source, first=first), source, tmp_path / "out")
    with pytest.raises(VerificationError) as caught:
        unpack([tmp_path / "out"], tmp_path / "site", demands=asked(signer, pattern))
    assert caught.value.code == "image-unsigned"
    assert [str(item).partition(": ")[0] for item in caught.value.items] == [name]
    assert not (tmp_path / "site").exists()


def test_a_pattern_without_a_key_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["unpack", str(tmp_path), "--store", str(tmp_path / "site"), "--json"]
    assert run([*words, "--require-signed-by", "=*"]) == 2
    assert "names no key" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_an_image_called_the_lock_gets_nowhere(source: Store, signer: Signer, tmp_path: Path) -> None:
    image = put_image(source, "isthmus.internal/lock/isthmus", "", [b"anything"])
    first = [BundleReference("isthmus.internal/lock/isthmus:1", image.descriptor(), "lock")]
    pack(plan_bundle(source, first=first), source, tmp_path / "out")
    unpack([tmp_path / "out"], tmp_path / "site", demands=asked(signer))
    with Store.open(tmp_path / "site") as store:
        assert [held.name for held in store.references()] == _names(source)
        assert not any(store.blob_size(blob.digest) for blob in (image.descriptor(), *image.blobs))


def test_volumes_with_both_can_be_served(source: Store, tmp_path: Path) -> None:
    lock = Digest.of(b"version: 1\n")
    pack(plan_bundle(source, first=own(source, tmp_path), volume_size=120_000), source, tmp_path / "out")
    assert (tmp_path / "out" / "bundle-0002.isv").exists()
    blobs = lay_out([tmp_path / "out"], (), tmp_path / "names")
    assert (tmp_path / "names" / "isthmus.lock").read_bytes() == b"version: 1\n"
    with Store.open(tmp_path / "names", also=blobs) as store:
        assert [held.name for held in store.references()] == [TOOL, *_names(source)]
        for held in store.references():
            for blob in store.manifest_by_digest(held.descriptor.digest).blobs:
                assert store.blob_size(blob.digest) == blob.size
        assert lock not in {digest for digest, _ in store.iter_blobs() if store.blob_path(digest).exists()}


def test_check_configure_and_status_read_the_lock_of_a_stream(
    source: Store,
    keys: KeyPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    entries = [
        LockEntry("image", held.name, held.descriptor.digest, held.descriptor.media_type)
        for held in source.references()
    ]
    write_lock(tmp_path / "isthmus.lock", Lock(references=tuple(entries)))
    words = ["--store", str(source.path), "--lock", str(tmp_path / "isthmus.lock"), "--sign", str(keys.private)]
    command = [sys.executable, "-m", "isthmus", "pack", *words, "--no-tool", "--out", "-"]
    sent = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    command = [sys.executable, "-m", "isthmus", "unpack", "-", "--store", "site", "--key", str(keys.public)]
    subprocess.run(command, check=True, input=sent, capture_output=True, timeout=60, cwd=inside)
    monkeypatch.chdir(inside)
    lock = ["--lock", "site/isthmus.lock"]
    assert run(["check", "--store", "site", *lock, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["present"], found["missing"]) == (len(entries), [])
    for asked in ([], lock):  # a store brings its lock with it
        assert run(["status", "--store", "site", *asked, "--once", "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["lock"]["references"], status["coverage"]["missing"]) == (len(entries), [])
    words = ["configure", "--out", "out", "--only", "containerd", "--registry", "https://registry.site.example"]
    assert run([*words, *lock, "--json"]) in (0, 3)
    assert "x.example" in json.dumps(json.loads(capsys.readouterr().out)["files"])
