"""Exported archives: what is in them, names for every tool, the same bytes, and never a half-written file."""

import fcntl
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.demo.images import AMD64, ARM64, filler, make_layer, name_it, put_artifact, put_image
from isthmus.errors import IncompleteError, UnreachableError, UsageError, VerificationError
from isthmus.oci import Descriptor, Platform
from isthmus.store import Store, StoredReference
from isthmus.store.index import CONTAINERD_NAME, REF_NAME
from isthmus.transfer.archive import bring, write_archive, writing
from isthmus.transfer.archive.selecting import find_references
from tests.transfer.images import API, SHARED, WEB, fill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    fill(tmp_path / "origin")
    with Store.open(tmp_path / "origin") as held:
        yield held


def opened(path: Path) -> tuple[list[tarfile.TarInfo], dict[str, bytes]]:
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        return members, {m.name: tar.extractfile(m).read() for m in members if m.isreg()}  # type: ignore[union-attr]


def document(data: bytes) -> Any:
    return json.loads(data)


def test_one_file_is_a_layout_and_a_docker_archive(store: Store, tmp_path: Path) -> None:
    result = write_archive(store, store.references(), tmp_path / "out.tar")
    members, files = opened(tmp_path / "out.tar")
    names = [member.name for member in members]
    assert names[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert len(names) == len(set(names)), "layers that images share are there once"
    assert {(m.uid, m.gid, m.mtime, m.uname) for m in members} == {(0, 0, 0, "")}
    assert result.bytes == (tmp_path / "out.tar").stat().st_size
    assert result.blobs == sum(name.startswith("blobs/sha256/") for name in files)
    saved = {tag: entry for entry in document(files["manifest.json"]) for tag in entry["RepoTags"]}
    assert set(saved) == {WEB, API, SHARED}
    for entry in saved.values():
        diff_ids = document(files[entry["Config"]])["rootfs"]["diff_ids"]
        assert len(diff_ids) == len(entry["Layers"])
        assert all(layer in files for layer in entry["Layers"])
    assert document(files[saved[API]["Config"]])["architecture"] == "amd64"
    entries = document(files["index.json"])["manifests"]
    assert {entry["annotations"][CONTAINERD_NAME]: entry["digest"] for entry in entries} == {
        one.name: str(one.descriptor.digest) for one in store.references()
    }
    assert all(entry["annotations"][REF_NAME] == entry["annotations"][CONTAINERD_NAME] for entry in entries)


def test_the_same_images_are_the_same_bytes(store: Store, tmp_path: Path) -> None:
    write_archive(store, store.references(), tmp_path / "one.tar")
    write_archive(store, tuple(reversed(store.references())), tmp_path / "two.tar")
    stream = io.BytesIO()
    write_archive(store, store.references(), stream)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes() == stream.getvalue()


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_what_goes_out_comes_in_again(store: Store, tmp_path: Path, form: writing.Format) -> None:
    result = write_archive(store, store.references(), tmp_path / "out.tar", form)
    with Store.create(tmp_path / "back") as back:
        assert bring([tmp_path / "out.tar"], back).is_complete
        assert back.references() == store.references()
        carried = len(back.referrers("docker.io/library/web", back.manifest("docker.io/library/web", "1").digest))
        assert list(back.scrub()) == []
    assert (carried, result.referrers_left_out) == ((1, 0) if form == "oci" else (0, 1))
    assert ("manifest.json" in opened(tmp_path / "out.tar")[1]) == (form == "docker")


def test_a_platform_is_all_that_is_carried_of_an_index(store: Store, tmp_path: Path) -> None:
    api = find_references(store, ["quay.io/team/api:2"])
    write_archive(store, api, tmp_path / "arm.tar", platforms=[Platform.parse("linux/arm64")])
    _, files = opened(tmp_path / "arm.tar")
    (entry,) = document(files["manifest.json"])
    assert document(files[entry["Config"]])["architecture"] == "arm64"
    index = store.manifest("quay.io/team/api", "2")
    assert files[f"blobs/sha256/{index.digest.hex}"] == index.raw
    held = [f"blobs/sha256/{child.digest.hex}" in files for child in index.manifests]
    assert sorted(held) == [False, True]
    write_archive(store, api, tmp_path / "both.tar", platforms=[Platform.parse("linux/arm64"), AMD64])
    store.discard_blob(index.manifests[0].digest)
    with pytest.raises(IncompleteError) as caught:
        write_archive(store, api, tmp_path / "none.tar", platforms=[AMD64, ARM64])
    assert caught.value.code == "missing-content"


def test_names_with_a_digest_get_names_that_each_tool_takes(store: Store, tmp_path: Path) -> None:
    web = store.manifest("docker.io/library/web", "1").descriptor()
    digest = web.digest
    names = [f"docker.io/library/only@{digest}", f"docker.io/library/both:1@{digest}"]
    store.set_references([StoredReference(name, web) for name in names])
    result = write_archive(store, find_references(store, names), tmp_path / "out.tar")
    only, both = sorted(result.images, key=lambda image: image.name, reverse=True)
    assert only.names == (f"docker.io/library/only@{digest}",)
    assert only.tags == (f"docker.io/library/only:sha256-{digest.hex}",)
    assert both.names == ("docker.io/library/both:1", f"docker.io/library/both@{digest}")
    assert both.tags == ("docker.io/library/both:1",)
    (entry,) = document(opened(tmp_path / "out.tar")[1]["manifest.json"])
    assert sorted(entry["RepoTags"]) == sorted((*only.tags, *both.tags))


def test_a_tag_that_moved_on_is_not_given_to_what_had_it(store: Store, tmp_path: Path) -> None:
    web, shared = (
        store.manifest(name, tag) for name, tag in (("docker.io/library/web", "1"), ("ghcr.io/team/shared", "3"))
    )
    pinned = f"docker.io/library/web:1@{shared.digest}"
    store.set_references([StoredReference(pinned, shared.descriptor())])
    result = write_archive(store, store.references(), tmp_path / "out.tar")
    images = {image.name: image for image in result.images}
    assert images[WEB].names == (WEB,)
    assert images[pinned].names == (f"docker.io/library/web@{shared.digest}",)
    assert images[pinned].tags == (f"docker.io/library/web:sha256-{shared.digest.hex}",)
    assert web.digest == images[WEB].digest


def test_artifacts_are_in_the_layout_and_said_not_to_be_for_docker(store: Store, tmp_path: Path) -> None:
    chart = put_artifact(store, "quay.io/charts/web", "application/vnd.cncf.helm.config.v1+json", {"text/x": b"c"})
    name_it(store, "quay.io/charts/web:1", chart)
    result = write_archive(store, find_references(store, ["quay.io/charts/web:1"]), tmp_path / "out.tar")
    assert "another artifact" in result.images[0].not_for_docker
    _, files = opened(tmp_path / "out.tar")
    assert document(files["manifest.json"]) == []
    assert f"blobs/sha256/{chart.digest.hex}" in files


def test_what_is_missing_is_all_listed_before_anything_is_written(store: Store, tmp_path: Path) -> None:
    web, shared = store.manifest("docker.io/library/web", "1"), store.manifest("ghcr.io/team/shared", "3")
    for blob in (web.layers[1], shared.config):
        assert isinstance(blob, Descriptor)
        store.discard_blob(blob.digest)
    with pytest.raises(IncompleteError) as caught:
        write_archive(store, store.references(), tmp_path / "out.tar")
    assert len(caught.value.items) == 2
    assert list(tmp_path.glob("*.tar*")) == []
    with pytest.raises(IncompleteError) as caught:
        find_references(store, ["nothing:1", "quay.io/team/api:2", "nor:2"])
    assert caught.value.items == ("docker.io/library/nothing:1", "docker.io/library/nor:2")


def test_a_damaged_store_is_not_exported(store: Store, tmp_path: Path) -> None:
    layer = store.manifest("docker.io/library/web", "1").layers[1]
    path = store.blob_path(layer.digest)
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    (tmp_path / "out.tar").write_bytes(b"former")
    with pytest.raises(VerificationError):
        write_archive(store, store.references(), tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["out.tar"]


def test_what_a_killed_run_left_is_written_over(store: Store, tmp_path: Path) -> None:
    write_archive(store, store.references(), tmp_path / "whole.tar")
    (tmp_path / ".out.tar.partial").write_bytes(b"x" * 5_000_000)
    write_archive(store, store.references(), tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    assert not (tmp_path / ".out.tar.partial").exists()


def test_a_file_that_somebody_writes_is_left_alone(store: Store, tmp_path: Path) -> None:
    with (tmp_path / ".out.tar.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError):
            write_archive(store, store.references(), tmp_path / "out.tar")
    with pytest.raises(UsageError):
        write_archive(store, store.references(), tmp_path)
    with pytest.raises(UnreachableError):
        write_archive(store, store.references(), tmp_path / "none" / "out.tar")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_said(store: Store) -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(UnreachableError) as caught:
        write_archive(store, store.references(), full)
    assert caught.value.code == "io-failed"


def test_a_dry_run_knows_the_size_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    told = write_archive(store, store.references(), tmp_path / "out.tar", dry_run=True)
    assert not (tmp_path / "out.tar").exists()
    assert write_archive(store, store.references(), tmp_path / "out.tar").bytes == told.bytes


def test_a_size_that_octal_has_no_room_for() -> None:
    block = writing._header("blobs/sha512/" + "a" * 128, 9 << 30)
    with tarfile.open(fileobj=io.BytesIO(block + bytes(1024)), mode="r|") as tar:
        member = tar.next()
    assert member is not None
    assert (member.name, member.size) == ("blobs/sha512/" + "a" * 128, 9 << 30)


def test_layers_with_no_bytes_and_shared_images(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        layer = make_layer({"a": filler("a", 10)})
        for number in range(3):
            name_it(store, f"quay.io/a/b{number}:1", put_image(store, f"quay.io/a/b{number}", [layer, layer]))
        write_archive(store, store.references(), tmp_path / "out.tar")
    (entry,) = document(opened(tmp_path / "out.tar")[1]["manifest.json"])
    assert len(entry["RepoTags"]) == 3
    assert len(entry["Layers"]) == 2
