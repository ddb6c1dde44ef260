"""The store as a source and a sink, its names and its referrers."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isthmus.errors import IncompleteError, IsthmusError, UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Sink, Source, parse_manifest
from isthmus.store import Store, StoredReference
from tests.store import content


def as_source_and_sink(store: Store) -> tuple[Source, Sink]:
    return store, store  # checked by mypy


def test_a_blob_is_read_back_from_any_offset(store: Store) -> None:
    blob = content.put_blob(store, b"0123456789")
    buffer = memoryview(bytearray(64))
    for offset in range(11):
        with store.open_blob("any", blob, offset) as reader:
            assert reader.size == 10 - offset
            count = reader.readinto(buffer)
            assert bytes(buffer[:count]) == b"0123456789"[offset:]
            assert reader.readinto(buffer) == 0
            assert reader.size == 0
    with pytest.raises(UsageError):
        store.open_blob("any", blob, 11)
    assert store.has_blob("any", blob)
    assert store.mount_blob("any", blob, "other")
    assert store.blob_size(blob.digest) == 10
    assert store.blob_path(blob.digest).read_bytes() == b"0123456789"
    assert list(store.iter_blobs()) == [(blob.digest, 10)]


def test_sha512(store: Store) -> None:
    blob = content.put_blob(store, b"x" * 100, algorithm="sha512")
    assert store.verify_blob(blob.digest) == 100
    assert [digest for digest, _ in store.iter_blobs()] == [blob.digest]
    raw = content.index_of().raw
    manifest = parse_manifest(raw, algorithm="sha512")
    store.put_manifest("host.example/x", manifest, "1")
    assert store.manifest("host.example/x", "1").digest == manifest.digest
    assert manifest.digest.algorithm == "sha512"


def test_what_is_not_there(store: Store) -> None:
    absent = content.describe(b"absent")
    for ask in (
        lambda: store.manifest("docker.io/library/nginx", "1"),
        lambda: store.manifest("docker.io/library/nginx", absent.digest),
        lambda: store.manifest_by_digest(absent.digest),
        lambda: store.open_blob("x", absent),
        lambda: store.verify_blob(absent.digest),
    ):
        with pytest.raises(IncompleteError) as caught:
            ask()
        assert caught.value.code == "not-found"
    assert not store.has_blob("x", absent)
    assert not store.has_manifest("x", absent.digest)
    assert store.blob_size(absent.digest) is None
    assert store.referrers("x", absent.digest) == ()


def test_there_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(UsageError) as caught:
            Store.open(place)
        assert caught.value.code == "store-not-found"


@pytest.mark.parametrize("marker", ["", "{}", "[1]", '{"imageLayoutVersion":"2.0.0"}', "[" * 60000, "\xff"])
def test_a_marker_of_something_else(place: Path, marker: str) -> None:
    Store.create(place).close()
    (place / "oci-layout").write_bytes(marker.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        Store.open(place)
    assert caught.value.code == "invalid-input"


def test_create_keeps_what_is_there(place: Path) -> None:
    with Store.create(place) as store:
        image = content.put_image(store, "a", "1")
    before = content.tree(place)
    with Store.create(place) as store:
        assert store.manifest(content.REPOSITORY, "1").digest == image.digest
    assert content.tree(place) == before


def test_names_are_set_in_one_write_and_read_by_tag_and_digest(store: Store) -> None:
    a, b = content.put_image(store, "a"), content.put_image(store, "b")
    names = {
        "docker.io/library/nginx:1": a,
        "quay.io/x/y:1": b,
        f"quay.io/x/y:1@{a.digest}": a,
        f"quay.io/x/y:2@{a.digest}": a,
        f"registry.example:5000/z@{b.digest}": b,
    }
    store.set_references(StoredReference(name, image.descriptor()) for name, image in names.items())
    assert {r.name: r.descriptor.digest for r in store.references()} == {n: i.digest for n, i in names.items()}
    assert [r.name for r in store.references()] == sorted(names)
    assert store.manifest("quay.io/x/y", "1").digest == b.digest  # the plain tag, not the pinned one
    assert store.manifest("quay.io/x/y", "2").digest == a.digest
    assert store.manifest("docker.io/library/nginx", a.digest).raw == a.raw
    first = store.references()[0]
    assert (first.repository, first.tag) == ("docker.io/library/nginx", "1")
    store.set_references(
        [StoredReference("docker.io/library/nginx:1", b.descriptor())], remove=["quay.io/x/y:1", "not/there:1"]
    )
    assert store.manifest("docker.io/library/nginx", "1").digest == b.digest
    assert store.manifest("quay.io/x/y", "1").digest == a.digest
    assert len(store.references()) == 4


def test_a_thousand_names_are_one_write(store: Store) -> None:
    image = content.put_image(store, "a")
    store.set_references(StoredReference(f"quay.io/x/y:{n}", image.descriptor()) for n in range(1000))
    inode = os.stat(store.path / "index.json").st_ino
    assert len(store.references()) == 1000
    store.set_references(StoredReference(f"quay.io/x/y:{n}", image.descriptor()) for n in range(1000))
    assert os.stat(store.path / "index.json").st_ino == inode  # nothing changed, nothing written


def test_names_that_cannot_be_set_change_nothing(store: Store) -> None:
    image = content.put_image(store, "a", "1")
    before = content.tree(store.path)
    absent = Descriptor(media_type=image.media_type, digest=Digest.of(b"absent"), size=6)
    other = f"quay.io/x/y@{absent.digest}"
    for name, descriptor, code in (
        ("quay.io/x/y:1", absent, "missing-content"),
        ("nginx", image.descriptor(), "invalid-reference"),
        ("UPPER/case", image.descriptor(), "invalid-reference"),
        (other, image.descriptor(), "digest-mismatch"),
    ):
        with pytest.raises(IsthmusError) as caught:
            store.set_references(
                [StoredReference("quay.io/ok:1", image.descriptor()), StoredReference(name, descriptor)]
            )
        assert caught.value.code == code
    assert content.tree(store.path) == before


def test_a_store_that_is_open_sees_what_another_writes(store: Store) -> None:
    assert store.references() == ()
    with Store.open(store.path) as other:
        image = content.put_image(other, "a", "1")
        referrer = content.put_referrer(other, image)
        assert [r.name for r in store.references()] == ["docker.io/library/nginx:1"]
        assert [r.digest for r in store.referrers("x", image.digest)] == [referrer.digest]


def test_a_damaged_manifest_is_not_served_and_is_repaired_by_putting_it_again(store: Store) -> None:
    image = content.put_image(store, "a", "1")
    path = store.blob_path(image.digest)
    path.write_bytes(path.read_bytes().replace(b"layers", b"LAYERS"))
    with pytest.raises(VerificationError) as caught:
        store.manifest(content.REPOSITORY, "1")
    assert caught.value.code == "damaged-store"
    assert not store.has_manifest("x", image.digest)
    assert [damage.digest for damage in store.scrub()] == [image.digest]
    store.put_manifest(content.REPOSITORY, image, "1")
    assert store.manifest(content.REPOSITORY, "1").raw == image.raw
    assert list(store.scrub()) == []


def test_a_damaged_blob_is_found_and_fetched_again(store: Store) -> None:
    blob = content.put_blob(store, b"0123456789")
    store.blob_path(blob.digest).write_bytes(b"012345678X")
    with pytest.raises(VerificationError, match="another digest"):
        store.verify_blob(blob.digest)
    assert [(d.digest, d.size) for d in store.scrub()] == [(blob.digest, 10)]
    store.discard_blob(blob.digest)
    assert not store.has_blob("x", blob)
    content.put_blob(store, b"0123456789")
    assert store.verify_blob(blob.digest) == 10


def test_referrers_as_the_api_tells_them(store: Store) -> None:
    image, other = content.put_image(store, "a", "1"), content.put_image(store, "b", "2")
    kinds = ["application/vnd.example.sbom", "application/vnd.example.signature"]
    made = {content.put_referrer(store, image, kind).digest: kind for kind in kinds}
    found = store.referrers("x", image.digest)
    assert {f.digest: f.artifact_type for f in found} == made
    assert all(f.annotations == {"made": "here"} and f.is_manifest for f in found)
    assert store.referrers("x", other.digest) == ()


def test_referrers_become_findable_for_other_tools(store: Store) -> None:
    image = content.put_image(store, "a", "1")
    referrer = content.put_referrer(store, image)
    store.set_references([])
    listed = json.loads((store.path / "index.json").read_bytes())["manifests"]
    assert [entry["digest"] for entry in listed] == [image.digest, referrer.digest]
    assert len(store.references()) == 1
    assert len(store.entries()) == 2


def test_which_names_need_a_blob(store: Store) -> None:
    image = content.put_image(store, "a", "1")
    index = content.index_of(image.descriptor())
    store.put_manifest("quay.io/x/y", index, "all")
    referrer = content.put_referrer(store, index)
    both = ("docker.io/library/nginx:1", "quay.io/x/y:all")
    assert store.needed_by(image.layers[0].digest) == both
    assert store.needed_by(referrer.layers[0].digest) == ("quay.io/x/y:all",)
    assert store.needed_by(Digest.of(b"absent")) == ()


def test_threads_share_a_store(store: Store) -> None:
    def put(number: int) -> Digest:
        image = content.put_image(store, f"word {number % 5}", f"{number}")
        content.put_referrer(store, image, f"application/vnd.number-{number}")
        return image.digest

    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(put, range(40)))
    assert [store.manifest(content.REPOSITORY, f"{n}").digest for n in range(40)] == images
    assert [len(store.referrers("x", digest)) for digest in images[:5]] == [8] * 5
    assert list(store.scrub()) == []


def test_durable(place: Path) -> None:
    with Store.create(place, durable=True) as store:
        image = content.put_image(store, "a", "1")
        assert store.manifest(content.REPOSITORY, "1").digest == image.digest
