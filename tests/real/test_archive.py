"""Archives that skopeo and containerd write are read, and they read ours, with every digest compared."""

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.images import BuiltImage
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Digest
from isthmus.store import Store
from tests.real import programs
from tests.real.containerd import Containerd
from tests.real.programs import ProgramFailed, output
from tests.real.skopeo import Skopeo

pytestmark = pytest.mark.real

NAMES = ("docker.io/library/busybox", "registry.k8s.io/pause", "quay.io/prometheus/node-exporter")


def _one(images: Sequence[BuiltImage], name: str) -> BuiltImage:
    return next(image for image in images if image.name == name and image.generation == "v1")


def _isthmus(*words: str | Path, cwd: Path, status: int = 0) -> Any:
    command = [sys.executable, "-m", "isthmus", *map(str, words), "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def store(tmp_path: Path, skopeo: Skopeo, real_images: list[BuiltImage]) -> Path:
    """A store that has three of the real images as their registries serve them, platforms and all."""
    path = tmp_path / "store"
    for image in (_one(real_images, name) for name in NAMES):
        skopeo.copy(f"oci:{image.layout}:{image.ref}", f"oci:{path}:{image.reference}")
    return path


def _lock(path: Path, images: Sequence[BuiltImage]) -> None:
    entries = [LockEntry(kind="image", name=image.reference, digest=Digest(image.digest)) for image in images]
    write_lock(path, Lock(platforms=("linux/amd64",), references=tuple(entries)))


def test_skopeo_reads_our_docker_archive(
    tmp_path: Path, store: Path, skopeo: Skopeo, real_images: list[BuiltImage]
) -> None:
    told = _isthmus("export", "--store", store, "--out", "out.tar", cwd=tmp_path)
    tags = {image["name"]: image["tags"][0] for image in told["images"]}
    for image in (_one(real_images, name) for name in NAMES):
        tag = tags[image.reference]
        skopeo.run("copy", f"docker-archive:{tmp_path}/out.tar:{tag}", f"oci:{tmp_path}/back:x")
        image_of = skopeo.inspect(f"oci:{tmp_path}/back:x")
        assert (image_of["Os"], image_of["Architecture"]) == ("linux", "amd64")
        # What docker's format keeps is the identity of every unpacked layer.
        assert _diff_ids(tmp_path / "back", "x") <= _diff_ids(store, image.reference)


def _diff_ids(layout: Path, ref: str) -> set[tuple[str, ...]]:
    """The unpacked layers of every image below a name."""

    def read(digest: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())
        return found

    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    roots = [e for e in entries if e.get("annotations", {}).get("org.opencontainers.image.ref.name") == ref]
    found = set()
    while roots:
        document = read(roots.pop()["digest"])
        roots += document.get("manifests", [])
        if "config" in document:
            found.add(tuple(read(document["config"]["digest"]).get("rootfs", {}).get("diff_ids", ())))
    return found


def test_skopeo_reads_our_layout_with_every_digest(
    tmp_path: Path, store: Path, skopeo: Skopeo, real_images: list[BuiltImage]
) -> None:
    for form in ("docker", "oci"):
        _isthmus("export", "--store", store, "--out", f"{form}.tar", "--format", form, cwd=tmp_path)
        for image in (_one(real_images, name) for name in NAMES):
            source = f"oci-archive:{tmp_path}/{form}.tar:{image.reference}"
            skopeo.copy(source, f"oci:{tmp_path}/{form}-back:{image.reference}")
            assert skopeo.digest(f"oci:{tmp_path}/{form}-back:{image.reference}") == image.digest


def test_we_read_the_docker_archive_of_skopeo_and_say_that_the_digest_is_lost(
    tmp_path: Path, skopeo: Skopeo, real_images: list[BuiltImage]
) -> None:
    image = _one(real_images, NAMES[1])
    skopeo.run("copy", f"oci:{image.layout}:{image.ref}", f"docker-archive:{tmp_path}/saved.tar:{image.reference}")
    told = _isthmus("pull", "docker-archive:saved.tar", "--store", "store", cwd=tmp_path)
    (brought,) = told["archives"][0]["images"]
    assert (brought["name"], brought["restored"]) == (image.reference, False)
    assert _diff_ids(tmp_path / "store", image.reference) <= _diff_ids(image.layout, image.ref)
    assert skopeo.digest(f"oci:{tmp_path}/store:{image.reference}") == brought["digest"]
    _lock(tmp_path / "isthmus.lock", [image])
    told = _isthmus("pull", "docker-archive:saved.tar", "--store", "locked", cwd=tmp_path, status=3)
    assert "digest differs from the lock" in told["archives"][0]["images"][0]["problem"]
    told = _isthmus("pull", "docker-archive:saved.tar", "--store", "locked", "--accept-new-digest", cwd=tmp_path)
    assert told["accepted"] == [image.reference]
    again = _isthmus("pull", "docker-archive:saved.tar", "--store", "locked", cwd=tmp_path)
    assert again["archives"][0]["images"][0]["restored"]
    assert again["blobs"] == 0


@pytest.mark.parametrize("packed", [False, True])
def test_we_restore_the_digest_from_an_oci_archive_of_skopeo(
    tmp_path: Path, skopeo: Skopeo, real_images: list[BuiltImage], packed: bool
) -> None:
    image = _one(real_images, NAMES[2])
    skopeo.copy(f"oci:{image.layout}:{image.ref}", f"oci-archive:{tmp_path}/saved.tar:{image.reference}")
    if packed:
        (tmp_path / "saved.tar").write_bytes(gzip.compress((tmp_path / "saved.tar").read_bytes(), 1))
    _lock(tmp_path / "isthmus.lock", [image])
    told = _isthmus("pull", "docker-archive:saved.tar", "--store", "store", cwd=tmp_path)
    assert told["archives"][0]["images"] == [
        {"name": image.reference, "digest": image.digest, "restored": True, "locked": image.digest,
         "problem": "", "missing": []}
    ]  # fmt: skip
    assert skopeo.digest(f"oci:{tmp_path}/store:{image.reference}") == image.digest
    with Store.open(tmp_path / "store") as held:
        assert list(held.scrub()) == []


@pytest.mark.root
def test_containerd_imports_our_export_and_we_read_its_own(
    tmp_path: Path,
    store: Path,
    containerd_in_namespace: Containerd,
    real_images: list[BuiltImage],
) -> None:
    images = [_one(real_images, name) for name in NAMES]
    _isthmus("export", "--store", store, "--out", "out.tar", cwd=tmp_path)
    containerd_in_namespace.ctr("images", "import", tmp_path / "out.tar")
    for image in images:
        assert containerd_in_namespace.image_digest(image.reference) == image.digest
    busybox = images[0]
    assert containerd_in_namespace.run(busybox.reference, ["/bin/sh", "-c", "echo loaded"]) == "loaded\n"
    exported = tmp_path / "ctr.tar"
    containerd_in_namespace.ctr("images", "export", exported, *[image.reference for image in images])
    _lock(tmp_path / "isthmus.lock", images)
    told = _isthmus("pull", f"docker-archive:{exported}", "--store", "store2", cwd=tmp_path)
    assert {i["name"]: (i["digest"], i["restored"]) for i in told["archives"][0]["images"]} == {
        image.reference: (image.digest, True) for image in images
    }


@pytest.mark.root
def test_containerd_takes_an_export_of_one_platform_and_by_digest(
    tmp_path: Path,
    skopeo: Skopeo,
    containerd_in_namespace: Containerd,
    real_images: list[BuiltImage],
) -> None:
    pause = _one(real_images, NAMES[1])
    skopeo.copy(f"oci:{pause.layout}:{pause.ref}", f"oci:{tmp_path}/store:{pause.reference}@{pause.digest}")
    words: list[str | Path] = ["--store", tmp_path / "store", "--platform", "linux/amd64", "--out", "one.tar"]
    told = _isthmus("export", *words, cwd=tmp_path)
    assert told["images"][0]["names"] == [pause.reference, f"{pause.name}@{pause.digest}"]
    containerd_in_namespace.ctr("images", "import", tmp_path / "one.tar")
    # The kubelet asks for an image with tag and digest by its digest alone.
    for name in told["images"][0]["names"]:
        assert containerd_in_namespace.image_digest(name) == pause.digest


def test_podman_loads_our_export(tmp_path: Path, store: Path, real_images: list[BuiltImage]) -> None:
    programs.require("podman")
    _isthmus("export", "--store", store, "--out", "out.tar", cwd=tmp_path)
    short = programs.short_directory()  # Podman refuses longer names for its run directory
    where = ["--root", str(tmp_path / "root"), "--runroot", str(short / "run"), "--storage-driver", "vfs"]
    try:
        loaded = output("podman", *where, "load", "--input", tmp_path / "out.tar")
    finally:
        output("podman", *where, "rmi", "--all", "--force")
        shutil.rmtree(short, ignore_errors=True)
    for name in NAMES:
        # A docker archive names by tags alone; what has only a digest gets one that says it.
        assert _one(real_images, name).reference.replace("@sha256:", ":sha256-") in loaded


def test_docker_loads_our_export(tmp_path: Path, store: Path, real_images: list[BuiltImage]) -> None:
    programs.require("docker")
    try:
        output("docker", "version", timeout=10)
    except ProgramFailed:
        pytest.skip("no docker daemon runs here")
    _isthmus("export", "--store", store, "--out", "out.tar", cwd=tmp_path)
    loaded = output("docker", "load", "--input", tmp_path / "out.tar")
    assert all(name.removeprefix("docker.io/library/") in loaded for name in NAMES)
