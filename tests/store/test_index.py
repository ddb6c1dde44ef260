"""Layouts made by other tools, and hostile ones."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.oci import Digest
from isthmus.store import Store, StoredReference, index
from tests.store import content

REF, CTR = index.REF_NAME, index.CONTAINERD_NAME


def write_index(store: Store, entries: Any, **more: Any) -> None:
    document = {"schemaVersion": 2, "manifests": entries, **more}
    (store.path / "index.json").write_text(json.dumps(document))


def entry(image: Any, **annotations: str) -> dict[str, Any]:
    made = {"mediaType": image.media_type, "digest": str(image.digest), "size": image.size}
    return {**made, "annotations": annotations} if annotations else made


def test_names_of_other_tools(store: Store) -> None:
    a, b = content.put_image(store, "a"), content.put_image(store, "b")
    write_index(
        store,
        [
            entry(a),
            entry(a, **{REF: "1"}),
            entry(a, **{REF: "latest"}),
            entry(a, **{REF: "1", CTR: "docker.io/library/containerd:1"}),
            entry(b, **{REF: "nginx:2"}),
            entry(b, **{REF: "quay.io/x/y"}),
            entry(a, **{REF: "not a name:at/all"}),
            entry(b, **{REF: "quay.io/x/y"}),
            {
                "mediaType": "application/xml",
                "digest": str(Digest.of(b"x")),
                "size": 1,
                "data": "eA==",
                "odd": None,
            },
        ],
    )
    assert [(r.name, r.descriptor.digest) for r in store.references()] == [
        ("docker.io/library/containerd:1", a.digest),
        ("docker.io/library/nginx:2", b.digest),
        ("quay.io/x/y:latest", b.digest),
    ]
    assert [e.label for e in store.entries()] == [
        "", "1", "latest", "1", "nginx:2", "quay.io/x/y", "not a name:at/all", "quay.io/x/y", "",
    ]  # fmt: skip
    assert store.manifest("docker.io/library/nginx", "2").digest == b.digest


def test_a_name_moved_by_another_tool_is_where_the_ref_name_is(store: Store) -> None:
    old, new = content.put_image(store, "a"), content.put_image(store, "b")
    name = "quay.io/x/y:1"
    write_index(store, [entry(old, **{CTR: name}), entry(new, **{REF: name})])
    assert store.manifest("quay.io/x/y", "1").digest == new.digest
    store.set_references([StoredReference(name, old.descriptor())])
    assert store.manifest("quay.io/x/y", "1").digest == old.digest
    assert len(store.entries()) == 1


def test_what_other_tools_wrote_is_kept_as_it_is(store: Store) -> None:
    image = content.put_image(store, "a")
    odd = {"mediaType": "application/xml", "digest": str(Digest.of(b"x")), "size": 1, "data": "eA==", "odd": [1]}
    tagged = entry(image, **{REF: "only-a-tag", "more": "é"})
    write_index(store, [odd, tagged], annotations={"who": "somebody"}, future={"a": [None]})
    store.set_references([StoredReference("quay.io/x/y:1", image.descriptor())])
    store.set_references([], remove=["quay.io/x/y:1"])
    document = json.loads((store.path / "index.json").read_bytes())
    assert document["manifests"] == [odd, tagged]
    assert document["annotations"] == {"who": "somebody"}
    assert document["future"] == {"a": [None]}
    assert document["schemaVersion"] == 2


@pytest.mark.parametrize("manifests", [None, []])
def test_an_empty_index(store: Store, manifests: Any) -> None:
    write_index(store, manifests)
    assert store.references() == ()
    content.put_image(store, "a", "1")
    assert len(store.references()) == 1


def test_a_missing_index_is_empty(store: Store) -> None:
    (store.path / "index.json").unlink()
    assert store.references() == ()
    content.put_image(store, "a", "1")
    assert len(store.references()) == 1


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'{"manifests": {}}',
    b'{"manifests": [1]}',
    b'{"manifests": [{}]}',
    b'{"manifests": [{"mediaType": "x", "digest": "sha256:../../etc/passwd", "size": 1}]}',
    b'{"manifests": [{"mediaType": "x", "digest": "sha256:%s", "size": -1}]}' % (b"0" * 64),
    b'{"manifests": [{"mediaType": "x", "digest": "sha256:%s", "size": 1e400}]}' % (b"0" * 64),
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"manifests": ' + b"[" * 100_000,
    b'{"manifests": [{"mediaType": "x", "annotations": ' + b'{"a":' * 50_000,
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_index_is_damaged(store: Store, data: bytes) -> None:
    (store.path / "index.json").write_bytes(data)
    for ask in (store.references, lambda: store.set_references([]), store.collect):
        with pytest.raises(VerificationError) as caught:
            ask()
        assert caught.value.code == "damaged-store"
    assert (store.path / "index.json").read_bytes() == data


def test_a_huge_index_is_refused_before_it_is_read_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(store.path / "index.json", index.MAX_INDEX_SIZE * 1000)
    with pytest.raises(UsageError) as caught:
        store.references()
    assert caught.value.code == "invalid-input"


@given(st.binary(max_size=300))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-index.json"
    path.write_bytes(data)
    try:
        read = index.read_index(path)
    except IsthmusError:
        return
    path.write_bytes(index.encode_index(read))
    assert index.read_index(path).entries == read.entries


@pytest.mark.parametrize("name", ["oci-layout", "index.json", "index.sqlite", "index.lock"])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory"])
def test_something_else_in_the_place_of_a_file(place: Path, tmp_path: Path, name: str, kind: str) -> None:
    with Store.create(place) as store:
        image = content.put_image(store, "a", "1")
    outside = tmp_path / "outside"
    outside.write_bytes((place / name).read_bytes() if (place / name).exists() else b"")
    before = outside.read_bytes()
    (place / name).unlink(missing_ok=True)
    replace(place / name, kind, outside)
    with pytest.raises(IsthmusError) as caught, Store.open(place) as store:
        store.set_references([StoredReference("quay.io/x/y:1", image.descriptor())])
    assert caught.value.code == "damaged-store"
    assert outside.read_bytes() == before
    assert not (tmp_path / "nowhere").exists()


def replace(path: Path, kind: str, outside: Path) -> None:
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "dangling":
        path.symlink_to(outside.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory"])
def test_something_else_in_the_place_of_a_blob(store: Store, tmp_path: Path, kind: str) -> None:
    blob = content.put_blob(store, b"0123456789")
    store.blob_path(blob.digest).unlink()
    outside = tmp_path / "outside"
    outside.write_bytes(b"0123456789")
    replace(store.blob_path(blob.digest), kind, outside)
    for ask in (
        lambda: store.has_blob("x", blob),
        lambda: store.open_blob("x", blob),
        lambda: store.blob_size(blob.digest),
        lambda: store.verify_blob(blob.digest),
        lambda: list(store.iter_blobs()),
        lambda: store.write_blob("x", blob),
        lambda: store.manifest_by_digest(blob.digest),
        lambda: store.collect(grace_seconds=0),
    ):
        with pytest.raises(VerificationError) as caught:
            ask()
        assert caught.value.code == "damaged-store"
    assert outside.exists()


@pytest.mark.parametrize("part", ["blobs", "blobs/sha256", "blobs/sha512"])
def test_directories_that_lead_elsewhere(place: Path, tmp_path: Path, part: str) -> None:
    Store.create(place).close()
    if (place / part).exists():
        (place / part).rename(tmp_path / "moved")
    else:
        (tmp_path / "moved").mkdir()
    (place / part).symlink_to(tmp_path / "moved")
    with pytest.raises(VerificationError) as caught:
        Store.open(place)
    assert caught.value.code == "damaged-store"


@pytest.mark.parametrize("part", ["ingest", "leases"])
def test_our_own_directories_that_lead_elsewhere(place: Path, tmp_path: Path, part: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with Store.create(place) as store:
        (place / part).symlink_to(outside)
        with pytest.raises(VerificationError) as caught:
            content.put_blob(store, b"x")
    assert caught.value.code == "damaged-store"
    assert list(outside.iterdir()) == []


def test_strangers_among_the_blobs_are_left_alone(store: Store) -> None:
    blob = content.put_blob(store, b"x")
    stranger = store.path / "blobs" / "sha256" / ".nfs0001"
    stranger.write_text("")
    assert [digest for digest, _ in store.iter_blobs()] == [blob.digest]
    store.close()
    store.collect(grace_seconds=-1)
    assert stranger.exists()
