"""Layers that registries need not hold: carried where they are, left out only when asked for, always listed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.demo.images import CONFIG_TYPE, filler, make_layer, name_it, put_blob, put_manifest
from isthmus.errors import IsthmusError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.oci.descriptor import OCI_MANIFEST
from isthmus.registry import ConnectionOptions
from isthmus.serve import serving
from isthmus.store import Store
from isthmus.transfer import CopyItem, Upstreams, copy, pull
from isthmus.transfer.archive import write_archive

NAME = "quay.io/windows/base:1"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
URLS = ("https://example.invalid/layer",)


@pytest.fixture
def image(tmp_path: Path) -> Manifest:
    """An image with an ordinary layer and a foreign one, both in the upstream's store."""
    with Store.create(tmp_path / "upstream") as store:
        own, foreign = make_layer({"a": filler("own", 5000)}), make_layer({"b": filler("foreign", 9000)})
        layers = [put_blob(store, layer.data, own.descriptor.media_type) for layer in (own, foreign)]
        away = Descriptor(FOREIGN, layers[1].digest, layers[1].size, urls=URLS)
        config = {
            "os": "windows",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [own.diff_id]},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": put_blob(store, json.dumps(config).encode(), CONFIG_TYPE),
            "layers": [layers[0], away],
        }
        manifest = put_manifest(store, "quay.io/windows/base", document)
        name_it(store, NAME, manifest)
    return manifest


def foreign(manifest: Manifest) -> Digest:
    return manifest.layers[1].digest


@pytest.fixture
def upstreams(tmp_path: Path, image: Manifest) -> Iterator[Upstreams]:
    with (
        serving(tmp_path / "upstream", MirrorMap(prefix="")) as address,
        Upstreams(ConnectionOptions(retries=0), {"quay.io": f"http://{address}/quay.io"}) as registries,
    ):
        yield registries


@pytest.fixture
def entries(image: Manifest) -> list[LockEntry]:
    return [LockEntry(kind="image", name=NAME, digest=image.digest)]


def test_carried_where_the_registry_has_them(
    tmp_path: Path, upstreams: Upstreams, image: Manifest, entries: list[LockEntry]
) -> None:
    with Store.create(tmp_path / "store") as store:
        assert pull(entries, store, upstreams).skipped_foreign == ()
        assert store.verify_blob(foreign(image)) == image.layers[1].size


def test_an_error_that_names_the_option_where_it_has_not(
    tmp_path: Path, upstreams: Upstreams, image: Manifest, entries: list[LockEntry]
) -> None:
    with Store.open(tmp_path / "upstream") as held:
        held.discard_blob(foreign(image))
    with Store.create(tmp_path / "store") as store, pytest.raises(IsthmusError) as caught:
        pull(entries, store, upstreams)
    assert caught.value.code == "not-found"
    assert "--skip-foreign" in caught.value.hint


def test_left_out_and_listed_every_time_when_asked_for(
    tmp_path: Path, upstreams: Upstreams, image: Manifest, entries: list[LockEntry]
) -> None:
    with Store.open(tmp_path / "upstream") as held:
        held.discard_blob(foreign(image))
    with Store.create(tmp_path / "store") as store, Store.create(tmp_path / "sink") as sink:
        for _ in range(2):
            (left,) = pull(entries, store, upstreams, skip_foreign=True).skipped_foreign
            assert (left.digest, left.urls) == (foreign(image), URLS)
        assert [one.name for one in store.references()] == [NAME]
        item = CopyItem(NAME, store, "quay.io/windows/base", "quay.io/windows/base", image.digest)
        assert [d.digest for d in copy([item], sink, skip_foreign=True).skipped_foreign] == [foreign(image)]
        exported = write_archive(store, store.references(), tmp_path / "out.tar")
        assert exported.images[0].absent == (foreign(image),)
        assert "foreign" in exported.images[0].not_for_docker


def test_an_ordinary_layer_is_never_left_out(
    tmp_path: Path, upstreams: Upstreams, image: Manifest, entries: list[LockEntry]
) -> None:
    with Store.open(tmp_path / "upstream") as held:
        held.discard_blob(image.layers[0].digest)
    with Store.create(tmp_path / "store") as store, pytest.raises(IsthmusError) as caught:
        pull(entries, store, upstreams, skip_foreign=True)
    assert caught.value.code == "not-found"
    assert "--skip-foreign" not in caught.value.hint


def run(*words: str, cwd: Path, status: int = 0) -> Any:
    command = [sys.executable, "-m", "isthmus", *words, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_command_line_lists_them_from_registries_and_archives(tmp_path: Path, image: Manifest) -> None:
    with Store.open(tmp_path / "upstream") as held:
        held.discard_blob(foreign(image))
        write_archive(held, held.references(), tmp_path / "out.tar", "oci")
    listed = [{"digest": foreign(image), "size": image.layers[1].size, "urls": list(URLS)}]
    (tmp_path / "list.txt").write_text(NAME)
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        upstream = ("--upstream", f"quay.io=http://{address}/quay.io")
        run("lock", "images:list.txt", *upstream, cwd=tmp_path)
        told = run("pull", *upstream, "--store", "s", cwd=tmp_path, status=5)
        assert "--skip-foreign" in told["error"]["hint"]
        assert run("pull", *upstream, "--store", "s", "--skip-foreign", cwd=tmp_path)["skipped_foreign"] == listed
    told = run("pull", "docker-archive:out.tar", "--store", "t", cwd=tmp_path, status=3)
    assert "--skip-foreign" in told["error"]["hint"]
    told = run("pull", "docker-archive:out.tar", "--store", "t", "--skip-foreign", cwd=tmp_path)
    assert told["skipped_foreign"] == listed
    assert told["archives"][0]["images"][0]["restored"]
