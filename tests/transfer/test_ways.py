"""`resolve`, `pull`, `mirror` and `push` against the embedded registry and, where installed, Debian's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.errors import IncompleteError, IsthmusError, UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Ref
from isthmus.oci import Platform, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX
from isthmus.registry import ConnectionOptions
from isthmus.serve import serving
from isthmus.store import Store
from isthmus.transfer import Upstreams, pull, push, resolve
from isthmus.transfer.archive import write_archive
from tests.serve.conftest import put_image
from tests.transfer.images import API, SHARED, WEB, fill

HOSTS = ("docker.io", "quay.io", "ghcr.io")
REFS = [Ref(kind="image", name=name) for name in (WEB, API, SHARED)]


@pytest.fixture
def upstreams(tmp_path: Path) -> Iterator[Upstreams]:
    fill(tmp_path / "upstream")
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        substitutes = {host: f"http://{address}/{host}" for host in HOSTS}
        with Upstreams(ConnectionOptions(retries=0), substitutes) as registries:
            yield registries


def test_the_lock_has_digests_platforms_and_signatures(upstreams: Upstreams) -> None:
    resolution = resolve(REFS, upstreams)
    assert resolution.failures == ()
    web, shared, api = resolution.entries[0], resolution.entries[1], resolution.entries[2]
    assert [entry.name for entry in (web, shared, api)] == [WEB, SHARED, API]
    assert len(web.referrers) == 1
    assert web.referrers[0].artifact_type == "application/vnd.test.signature"
    assert api.platforms == ("linux/amd64", "linux/arm64")
    assert resolution.bytes < sum(entry.size for entry in resolution.entries), "the shared layer counts once"


def test_one_failure_does_not_hide_another(upstreams: Upstreams) -> None:
    lost = [Ref(kind="image", name="quay.io/team/none:1"), Ref(kind="image", name="docker.io/library/web:9")]
    resolution = resolve([*REFS, *lost], upstreams)
    assert len(resolution.entries) == 3
    assert sorted(failure.reference.name for failure in resolution.failures) == sorted(ref.name for ref in lost)
    assert {failure.error.code for failure in resolution.failures} == {"not-found"}


def test_a_platform_keeps_the_index_whole_in_bytes_and_sparse_in_content(
    upstreams: Upstreams, tmp_path: Path
) -> None:
    amd64 = [Platform.parse("linux/amd64")]
    resolution = resolve(REFS, upstreams, amd64)
    api = next(entry for entry in resolution.entries if entry.name == API)
    assert api.platforms == ("linux/amd64",)
    with Store.create(tmp_path / "store") as store:
        pull(resolution.entries, store, upstreams, amd64)
        index = store.manifest_by_digest(api.digest)
        held = [store.has_manifest("quay.io/team/api", child.digest) for child in index.manifests]
    assert sorted(held) == [False, True]


def test_the_lock_says_which_images_are_carried_of_an_index_in_part(upstreams: Upstreams, tmp_path: Path) -> None:
    def children(*platforms: str) -> dict[str, tuple[str, ...]]:
        entries = resolve(REFS, upstreams, [Platform.parse(text) for text in platforms]).entries
        assert all(entry.children == () for entry in entries if entry.name != API)
        return {entry.name: entry.children for entry in entries}

    with Store.open(tmp_path / "upstream") as store:
        amd64, arm64 = (child.digest for child in store.manifest("quay.io/team/api", "2").manifests)
    before = upstreams.requests
    assert children()[API] == ()
    whole = upstreams.requests - before
    assert children("linux/amd64", "linux/arm64")[API] == (), "the whole index goes"
    before = upstreams.requests
    assert children("linux/amd64")[API] == (amd64,)
    assert upstreams.requests - before < whole
    assert children("linux/arm64")[API] == (arm64,)


def test_build_attestations_are_no_images(tmp_path: Path) -> None:
    with Store.create(tmp_path / "upstream") as store:
        images = [put_image(store, [bytes([number])]) for number in range(3)]
        parts: list[dict[str, object]] = [
            {"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in images
        ]
        for part, machine in zip(parts, ("amd64", "arm64", "unknown"), strict=True):
            part["platform"] = {"os": "linux" if machine != "unknown" else machine, "architecture": machine}
        parts[2]["annotations"] = {"vnd.docker.reference.digest": images[0].digest}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": parts}
        index = parse_manifest(json.dumps(document).encode())
        store.put_manifest("quay.io/team/built", index, "1")
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        where = {"quay.io": f"http://{address}/quay.io"}
        with Upstreams(ConnectionOptions(retries=0), where) as registries:
            wanted = [Ref(kind="image", name="quay.io/team/built:1")]
            (entry,) = resolve(wanted, registries, [Platform.parse("linux/amd64")]).entries
    assert entry.children == (images[0].digest,)


def test_a_platform_that_is_not_there_is_said(upstreams: Upstreams) -> None:
    resolution = resolve(REFS, upstreams, [Platform.parse("windows/amd64")])
    (failure,) = [failure for failure in resolution.failures if failure.reference.name == API]
    assert "windows/amd64" in failure.error.message
    assert "linux/arm64" in failure.error.hint


def test_an_index_is_not_carried_without_any_image(upstreams: Upstreams, tmp_path: Path) -> None:
    windows = [Platform.parse("windows/amd64")]
    entries = resolve(REFS, upstreams).entries
    with Store.create(tmp_path / "store") as store, pytest.raises(IncompleteError) as caught:
        pull(entries, store, upstreams, windows)
    assert caught.value.code == "missing-content"
    assert API in caught.value.message
    assert "linux/amd64" in caught.value.hint
    with Store.open(tmp_path / "store") as store:
        assert store.references() == ()
    with Store.open(tmp_path / "upstream") as store, pytest.raises(IncompleteError) as caught:
        write_archive(store, store.references(), tmp_path / "x.tar", platforms=windows)
    assert any("windows/amd64" in item for item in caught.value.items)
    assert not (tmp_path / "x.tar").exists()


def test_pulled_twice_moves_once_and_asks_no_manifest_again(upstreams: Upstreams, tmp_path: Path) -> None:
    entries = resolve(REFS, upstreams).entries
    with Store.create(tmp_path / "store") as store:
        first = pull(entries, store, upstreams)
        again = pull(entries, store, upstreams)
        assert (again.blobs, again.bytes) == (0, 0)
        assert again.skipped == first.blobs
        assert [reference.name for reference in store.references()] == sorted((WEB, API, SHARED))


def test_flat_collisions_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        descriptor = store.references()[0].descriptor
        from isthmus.store import StoredReference

        twins = [StoredReference(name=f"{host}/same/name:1", descriptor=descriptor) for host in ("a.io", "b.io")]
        with pytest.raises(UsageError) as caught:
            push(store, None, MirrorMap(mapping="flat", prefix=""), twins)  # type: ignore[arg-type]
    assert caught.value.code == "mapping-collision"


def test_a_read_only_registry_refuses_and_says_so(tmp_path: Path) -> None:
    from isthmus.registry import connect

    fill(tmp_path / "store")
    with serving(tmp_path / "store", MirrorMap()) as address, Store.open(tmp_path / "store") as store:
        registry = connect(address, ConnectionOptions(retries=0))
        try:
            with pytest.raises(IsthmusError) as caught:
                push(store, registry, MirrorMap(prefix="elsewhere"))
        finally:
            registry.close()
    assert caught.value.status == 5
