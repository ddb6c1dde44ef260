"""Debian's skopeo reads what we write, and we read what it writes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from isthmus.store import Store, StoredReference
from tests.real import programs
from tests.store import content

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _needs_skopeo() -> None:
    programs.require("skopeo")


def skopeo(*arguments: str) -> str:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspect(place: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(skopeo("inspect", place))
    return found


def test_it_reads_every_name(store: Store) -> None:
    image = content.put_image(store, "a")
    names = [
        "docker.io/library/nginx:1",
        "registry.k8s.io/pause:3.10",
        f"quay.io/x/y@{image.digest}",
        f"quay.io/x/y:1@{image.digest}",
        "localhost:5000/z:latest",
    ]
    store.set_references(StoredReference(name, image.descriptor()) for name in names)
    content.put_referrer(store, image)
    store.set_references([])
    for name in names:
        assert inspect(f"oci:{store.path}:{name}")["Digest"] == image.digest


def test_copies_from_the_store_are_the_same_bytes(store: Store, tmp_path: Path) -> None:
    image = content.put_image(store, "a", "1")
    index = content.index_of(image.descriptor())
    store.put_manifest("quay.io/x/y", index, "all")
    skopeo("copy", "--all", f"oci:{store.path}:quay.io/x/y:all", f"dir:{tmp_path / 'dir'}")
    assert (tmp_path / "dir" / "manifest.json").read_bytes() == index.raw
    skopeo("copy", "--preserve-digests", f"oci:{store.path}:docker.io/library/nginx:1", f"oci:{tmp_path / 'o'}:x")
    with Store.open(tmp_path / "o") as other:
        assert other.references() == ()
        assert [(e.label, e.descriptor.digest) for e in other.entries()] == [("x", image.digest)]
        assert other.manifest_by_digest(image.digest).raw == image.raw


def test_an_image_that_it_copies_into_the_store_is_there(store: Store, tmp_path: Path) -> None:
    old = content.put_image(store, "old", "1")
    content.put_referrer(store, old)
    with Store.create(tmp_path / "other") as other:
        new = content.put_image(other, "new", "2")
        index = content.index_of(new.descriptor())
        other.put_manifest("quay.io/x/y", index, "all")
    assert [r.name for r in store.references()] == ["docker.io/library/nginx:1"]
    for source, target in (
        ("docker.io/library/nginx:2", "docker.io/library/nginx:1"),
        ("quay.io/x/y:all", "quay.io/x/y:all"),
    ):
        skopeo(
            "copy",
            "--all",
            "--preserve-digests",
            f"oci:{tmp_path / 'other'}:{source}",
            f"oci:{store.path}:{target}",
        )
    assert store.manifest("docker.io/library/nginx", "1").digest == new.digest
    assert store.manifest("quay.io/x/y", "all").raw == index.raw
    assert len(store.referrers("x", old.digest)) == 1
    assert "quay.io/x/y:all" in store.needed_by(new.layers[0].digest)
    with Store.open(store.path) as collector:
        collector.collect(grace_seconds=-1)
    assert inspect(f"oci:{store.path}:docker.io/library/nginx:1")["Digest"] == new.digest
    assert list(store.scrub()) == []
