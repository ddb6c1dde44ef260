"""The copy engine into Debian's docker-registry: requests, order, sparse indexes, and kills."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isthmus.inventory.lock import LockEntry, read_lock, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.registry import ConnectionOptions, connect
from isthmus.serve import serving
from isthmus.store import Store
from isthmus.transfer import Upstreams, ahead, pull, push
from tests.real.conftest import StartRegistry
from tests.real.docker_registry import DockerRegistry
from tests.real.skopeo import Skopeo
from tests.transfer.images import API, SHARED, WEB, fill
from tests.transfer.test_library import HOSTS, example

pytestmark = pytest.mark.real

ISTHMUS = [sys.executable, "-m", "isthmus"]


def isthmus(*words: str | Path, cwd: Path, status: int = 0) -> dict[str, Any]:
    """Run a command with --json and return its document."""
    done = subprocess.run(
        [*ISTHMUS, *map(str, words), "--json"], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, f"{words} ended with {done.returncode}: {done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def stored_blobs(registry: DockerRegistry) -> dict[str, int]:
    """Content that the registry has, whole, by digest."""
    root = registry.storage / "docker/registry/v2/blobs/sha256"
    return {f"sha256:{path.parent.name}": path.stat().st_size for path in root.glob("*/*/data")}


def test_push_costs_what_must_be_written_and_again_a_request_a_tag(
    tmp_path: Path, docker_registry: StartRegistry, skopeo: Skopeo
) -> None:
    manifests = fill(tmp_path / "store")
    registry = docker_registry()
    words = ("push", "--store", "store", "--to", registry.address)
    first = isthmus(*words, cwd=tmp_path)
    # Unique blobs: base, two own layers, two of the index, five configs (one shared by artifacts), the signature.
    uploads, pairs, manifests_put, tags, probes = first["blobs"], first["blobs"] + first["mounted"], 6, 3, 2
    assert first["requests"] <= probes + tags + pairs + 1 + uploads + manifests_put + 4
    for name in (WEB, API, SHARED):
        assert skopeo.digest(f"docker://{registry.address}/mirror/{name}") == manifests[name].digest
    again = isthmus(*words, cwd=tmp_path)
    assert (again["blobs"], again["bytes"], again["mounted"]) == (0, 0, 0)
    assert again["skipped"] == first["blobs"]
    assert again["requests"] <= 3 + 1
    trusted = isthmus(*words, "--trust-for", "1h", cwd=tmp_path)
    assert trusted["requests"] == 0
    verified = isthmus(*words, "--trust-for", "1h", "--verify", cwd=tmp_path)
    assert verified["blobs"] == 0
    assert verified["requests"] >= pairs


def test_a_blob_that_the_registry_lost_comes_back_with_verify(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    manifests = fill(tmp_path / "store")
    registry = docker_registry()
    words = ("push", "--store", "store", "--to", registry.address)
    isthmus(*words, cwd=tmp_path)
    lost = manifests[WEB].layers[1]
    (registry.storage / f"docker/registry/v2/blobs/sha256/{lost.digest.hex[:2]}/{lost.digest.hex}/data").unlink()
    assert isthmus(*words, cwd=tmp_path)["blobs"] == 0
    mended = isthmus(*words, "--verify", cwd=tmp_path)
    assert (mended["blobs"], mended["bytes"]) == (1, lost.size)
    assert lost.digest in stored_blobs(registry)


def test_a_sparse_index_is_refused_with_advice_and_one_platform_goes_instead(
    tmp_path: Path, docker_registry: StartRegistry, skopeo: Skopeo
) -> None:
    manifests = fill(tmp_path / "upstream")
    (tmp_path / "list.txt").write_text(f"{API}\n{WEB}\n")
    registry = docker_registry()
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        upstream = [
            word for host in ("quay.io", "docker.io") for word in ("--upstream", f"{host}=http://{address}/{host}")
        ]
        isthmus("lock", "images:list.txt", "--platform", "linux/amd64", *upstream, cwd=tmp_path)
        for words in (("mirror", *upstream), ("push", "--store", "part")):
            if words[0] == "push":
                isthmus("pull", "--store", "part", *upstream, cwd=tmp_path)
            refused = isthmus(*words, "--to", f"{registry.address}/{words[0]}", cwd=tmp_path, status=5)
            assert refused["error"]["code"] == "sparse-index"
            assert refused["error"]["items"] == [API]
            assert "--single-platform" in refused["error"]["hint"]
            one = isthmus(*words, "--to", f"{registry.address}/{words[0]}", "--single-platform", cwd=tmp_path)
            child = manifests[API].manifests[0].digest
            assert one["digest_changes"] == [{"name": API, "from": manifests[API].digest, "to": child}]
            assert skopeo.digest(f"docker://{registry.address}/{words[0]}/{API}") == child
            assert skopeo.digest(f"docker://{registry.address}/{words[0]}/{WEB}") == manifests[WEB].digest
            there = ("check", "--registry", registry.address, "--prefix", words[0])
            found = isthmus(*there, cwd=tmp_path)
            assert (found["present"], found["missing"], found["stale"]) == (2, [], [])
            elsewhere = isthmus(*there, "--workspace", "another", cwd=tmp_path)
            assert elsewhere == {**found, "present": 2, "missing": [], "stale": []}
            # The lock of another time does not say which image may be there: whoever has that is told.
            lock = read_lock(tmp_path / "isthmus.lock")
            old = [msgspec.structs.replace(entry, children=()) for entry in lock.references]
            write_lock(tmp_path / "old.lock", msgspec.structs.replace(lock, references=tuple(old)))
            told = isthmus(*there, "--workspace", "another", "--lock", "old.lock", cwd=tmp_path, status=3)
            assert [finding["name"] for finding in told["stale"]] == [API]


def test_the_library_example_between_registries(
    tmp_path: Path, docker_registry: StartRegistry, skopeo: Skopeo
) -> None:
    manifests = fill(tmp_path / "upstream")
    registry = docker_registry()
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        substitutes = {host: f"http://{address}/{host}" for host in HOSTS}
        entries = [
            LockEntry(kind="image", name=name, digest=manifests[name].digest) for name in (WEB, API, SHARED)
        ]
        bring_to = example("bring_to")
        first, requests = bring_to(registry.address, entries, substitutes, tmp_path / "state.sqlite")
        again, more_requests = bring_to(registry.address, entries, substitutes, tmp_path / "state.sqlite")
    assert first.blobs > 0
    assert requests > 0
    assert (again.blobs, again.skipped, more_requests) == (0, first.blobs, 0)
    for name in (WEB, API, SHARED):
        assert skopeo.digest(f"docker://{registry.address}/mirror/{name}") == manifests[name].digest


def test_a_large_blob_over_several_connections(
    tmp_path: Path, docker_registry: StartRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LARGE": 1_000_000, "SEGMENT": 700_001, "TRIAL": 0.0, "SLOW": 1 << 60}.items():
        monkeypatch.setattr(ahead, name, value)
    manifests = fill(tmp_path / "store", layer_size=6_000_000)
    registry = docker_registry()
    with Store.open(tmp_path / "store") as store, connect(registry.address) as target:
        push(store, target, MirrorMap(prefix=""))
    entry = LockEntry(kind="image", name=WEB, digest=manifests[WEB].digest)
    substitutes = {"docker.io": f"{registry.url}/docker.io"}
    with Store.create(tmp_path / "copy") as copied, Upstreams(ConnectionOptions(), substitutes) as upstreams:
        result = pull([entry], copied, upstreams, jobs=1)
        assert all(copied.has_blob("", blob) for blob in manifests[WEB].blobs)
        assert result.bytes == sum(blob.size for blob in manifests[WEB].blobs)
        blobs, plain_requests = len(manifests[WEB].blobs), 1
        assert upstreams.requests > plain_requests + blobs + 6, "it came in ranges"
