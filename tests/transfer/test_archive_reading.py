"""Archives of every form into a store: the right names and digests, and the lock's digest where it can be had."""

import gzip
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.errors import IncompleteError, IsthmusError, UsageError, VerificationError
from isthmus.inventory.lock import LockedReferrer, LockEntry
from isthmus.oci import Digest, Platform
from isthmus.store import Store
from isthmus.store.index import CONTAINERD_NAME, REF_NAME
from isthmus.transfer.archive import Brought, bring
from tests.transfer.archives import Files, layers, layout, old_docker, pack, skopeo
from tests.transfer.images import API, SHARED, WEB, fill

PAUSE = "registry.k8s.io/pause:3.10"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store") as held:
        yield held


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(files: Files, name: str = "saved.tar", wrap: Callable[[bytes], bytes] = bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(wrap(pack(files)))
        return path

    return write


Save = Callable[..., Path]


def only(result: Brought) -> tuple[str, bool, str]:
    (archive,) = result.archives
    (image,) = archive.images
    return image.name, image.restored, image.problem


def lock(name: str, digest: Digest, **more: object) -> LockEntry:
    return LockEntry(kind="image", name=name, digest=digest, **more)  # type: ignore[arg-type]


def assert_whole(store: Store, name: str) -> None:
    (stored,) = [one for one in store.references() if one.name == name]
    manifest = store.manifest_by_digest(stored.descriptor.digest)
    for blob in manifest.blobs:
        assert store.verify_blob(blob.digest) == blob.size


@pytest.mark.parametrize("form", ["old", "skopeo"])
def test_layers_come_as_they_are_under_a_manifest_of_ours(store: Store, save: Save, form: str) -> None:
    files = old_docker({"pause": layers()}) if form == "old" else skopeo("pause", layers())
    result = bring([save(files)], store)
    assert only(result) == ("docker.io/library/pause:latest", False, "")
    assert result.blobs == 3
    assert_whole(store, "docker.io/library/pause:latest")
    manifest = store.manifest("docker.io/library/pause", "latest")
    assert [layer.digest for layer in manifest.layers] == [Digest.of(layer) for layer in layers()]
    assert {layer.media_type for layer in manifest.layers} == {"application/vnd.oci.image.layer.v1.tar"}


def test_the_same_image_has_the_same_digest_from_every_form(tmp_path: Path, save: Save) -> None:
    digests = set()
    for number, files in enumerate((old_docker({PAUSE: layers()}), skopeo(PAUSE, layers()))):
        with Store.create(tmp_path / f"store{number}") as held:
            bring([save(files, f"{number}.tar")], held)
            digests.add(held.manifest("registry.k8s.io/pause", "3.10").digest)
    assert len(digests) == 1


def test_a_link_stands_for_the_layer_that_its_config_says(store: Store, save: Save) -> None:
    first, second = layers()
    files = old_docker({"one:1": [first, second], "two:1": [first, first]})
    assert sum(isinstance(content, tuple) for content in files.values()) == 2
    bring([save(files)], store)
    assert [d.digest for d in store.manifest("docker.io/library/two", "1").layers] == [Digest.of(first)] * 2


def test_a_link_that_leads_nowhere_is_missing_content(store: Store, save: Save) -> None:
    files = old_docker({"one:1": layers()})
    path = next(name for name in files if name.endswith("layer.tar"))
    files[path] = ("/etc/passwd", b"2")
    with pytest.raises(IncompleteError) as caught:
        bring([save(files)], store)
    assert caught.value.code == "missing-content"
    assert store.references() == ()


def test_compressed_layers_stay_compressed(store: Store, save: Save) -> None:
    bring([save(old_docker({PAUSE: layers()}, compressed=True))], store)
    manifest = store.manifest("registry.k8s.io/pause", "3.10")
    assert {layer.media_type for layer in manifest.layers} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert [d.digest for d in manifest.layers] == [Digest.of(gzip.compress(one, mtime=0)) for one in layers()]


def zstd(data: bytes) -> bytes:
    if importlib.util.find_spec("backports") is None or importlib.util.find_spec("backports.zstd") is None:
        pytest.skip("not installed: backports.zstd")
    from backports.zstd import compress

    packed: bytes = compress(data)
    return packed


@pytest.mark.parametrize("wrap", [gzip.compress, zstd])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_compressed_archive_gives_the_same(
    tmp_path: Path, store: Store, save: Save, wrap: Callable[[bytes], bytes], compressed: bool
) -> None:
    images = {"one:1": layers(3)} if compressed else {"one:1": layers(3), "two:1": layers(2)}
    files = old_docker(images, compressed)
    result = bring([save(files, "packed.tar.x", wrap)], store)
    with Store.create(tmp_path / "other") as other:
        bring([save(files)], other)
        assert store.references() == other.references()
        assert list(store.iter_blobs()) == list(other.iter_blobs())
    again = bring([tmp_path / "packed.tar.x"], store)
    assert (again.blobs, again.bytes, again.reused) == (0, 0, result.blobs)


def test_zstd_without_its_library_says_what_to_install(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save({}, "x.tar.zst", lambda _: b"\x28\xb5\x2f\xfd" + bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "backports.zstd", None)
    monkeypatch.setitem(__import__("sys").modules, "compression.zstd", None)
    with pytest.raises(UsageError) as caught:
        bring([path], store)
    assert "backports.zstd" in caught.value.hint


CONTAINERD = {
    WEB: {CONTAINERD_NAME: WEB, REF_NAME: "1"},
    API: {CONTAINERD_NAME: API, REF_NAME: "2"},
    SHARED: {REF_NAME: SHARED},
}


def test_an_oci_layout_restores_the_digests_of_the_lock(tmp_path: Path, store: Store, save: Save) -> None:
    manifests = fill(tmp_path / "origin")
    entries = [lock(name, manifests[name].digest) for name in (WEB, API, SHARED)]
    result = bring([save(layout(tmp_path / "origin", CONTAINERD))], store, entries)
    images = result.archives[0].images
    assert [(image.name, image.digest, image.restored) for image in images] == [
        (name, manifests[name].digest, True) for name in (WEB, SHARED, API)
    ]
    assert result.is_complete
    for name in (WEB, API, SHARED):
        repository, _, tag = name.rpartition(":")
        assert store.manifest(repository, tag).raw == manifests[name].raw
    with Store.open(tmp_path / "origin") as origin:
        assert set(store.iter_blobs()) | {x for x in origin.iter_blobs() if x[1] < 1000} >= set(
            origin.iter_blobs()
        )


def test_tags_of_manifest_json_name_what_the_layout_leaves_without(
    tmp_path: Path, store: Store, save: Save
) -> None:
    manifests = fill(tmp_path / "origin")
    config = manifests[WEB].config
    assert config is not None
    saved = f'[{{"Config":"blobs/sha256/{config.digest.hex}","RepoTags":["web:1"],"Layers":[]}}]'.encode()
    files = layout(tmp_path / "origin", {WEB: {REF_NAME: "1"}}, {"manifest.json": saved})
    result = bring([save(files)], store, [lock(WEB, manifests[WEB].digest)])
    assert only(result) == (WEB, True, "")


def test_a_lost_digest_is_said_and_nothing_is_brought(store: Store, save: Save) -> None:
    locked = Digest.of(b"the registry's manifest")
    result = bring([save(skopeo(PAUSE, layers()))], store, [lock(PAUSE, locked)])
    name, restored, problem = only(result)
    assert (name, restored) == (PAUSE, False)
    assert problem.startswith("digest differs from the lock: ")
    assert locked in problem
    assert not result.is_complete
    assert store.references() == ()
    assert list(store.iter_blobs()) == []


def test_a_new_digest_that_is_accepted_is_what_the_lock_says_next(store: Store, save: Save) -> None:
    old = lock(PAUSE, Digest.of(b"old"), referrers=(LockedReferrer(Digest.of(b"s"), "x/y"),), evidence=("a b c",))
    result = bring([save(skopeo(PAUSE, layers()))], store, [old], accept_new_digest=True)
    (entry,) = result.accepted
    manifest = store.manifest("registry.k8s.io/pause", "3.10")
    assert (entry.digest, entry.media_type) == (manifest.digest, manifest.media_type)
    assert entry.size == manifest.size + sum(blob.size for blob in manifest.blobs)
    assert (entry.referrers, entry.evidence) == ((), ("a b c",))
    again = bring([save(skopeo(PAUSE, layers()))], store, [entry])
    assert only(again) == (PAUSE, True, "")


def test_a_digest_that_the_platform_pins_cannot_be_accepted(store: Store, save: Save) -> None:
    pinned = f"{PAUSE}@{Digest.of(b'pinned')}"
    result = bring(
        [save(skopeo(PAUSE, layers()))], store, [lock(pinned, Digest.of(b"pinned"))], accept_new_digest=True
    )
    name, _, problem = only(result)
    assert name == pinned
    assert "pins" in problem
    assert result.accepted == ()
    assert store.references() == ()


def test_a_manifest_that_the_store_has_restores_the_digest(tmp_path: Path, store: Store, save: Save) -> None:
    """The store has the image as the registry served it; docker save gives the same image, unpacked."""
    manifests = fill(tmp_path / "origin")
    path = save(layout(tmp_path / "origin", CONTAINERD), "registry.tar")
    entries = [lock(WEB, manifests[WEB].digest)]
    bring([path], store, entries)
    config = manifests[WEB].config
    assert config is not None
    raw = [gzip.decompress(store.blob_path(layer.digest).read_bytes()) for layer in manifests[WEB].layers]
    files = skopeo("web:1", raw)
    named = next(name for name in files if name.endswith(".json") and name != "manifest.json")
    files[named] = store.blob_path(config.digest).read_bytes()
    assert only(bring([save(files)], store, entries)) == (WEB, True, "")
    other = skopeo("web:1", layers())
    assert only(bring([save(other, "other.tar")], store, entries))[1] is False, "another image of the same name"


def test_platforms_that_the_archive_lacks_are_listed(tmp_path: Path, store: Store, save: Save) -> None:
    manifests = fill(tmp_path / "origin")
    arm = next(c for c in manifests[API].manifests if c.platform and c.platform.architecture == "arm64")
    files = layout(tmp_path / "origin", {API: CONTAINERD[API]})
    del files[f"blobs/sha256/{arm.digest.hex}"]
    path = save(files)
    entries = [lock(API, manifests[API].digest, platforms=("linux/amd64", "linux/arm64"))]
    result = bring([path], store, entries)
    (image,) = result.archives[0].images
    assert (image.restored, image.missing, image.problem) == (True, ("linux/arm64",), "")
    assert not result.is_complete
    assert bring([path], store, entries, [Platform.parse("linux/amd64")]).is_complete
    assert bring([path], store).is_complete, "without a lock, nobody asked for more than there is"
    gone = bring([path], store, entries, [Platform.parse("linux/arm64")])
    assert only(gone)[2].startswith("nothing of it is whole")


def test_signatures_that_the_lock_knows_are_carried_or_missed(tmp_path: Path, store: Store, save: Save) -> None:
    manifests = fill(tmp_path / "origin")
    signature = manifests["signature"]
    referrer = LockedReferrer(signature.digest, signature.media_type, "application/vnd.test.signature")
    entries = [lock(WEB, manifests[WEB].digest, referrers=(referrer,))]
    files = layout(tmp_path / "origin", {WEB: CONTAINERD[WEB]})
    without = {name: data for name, data in files.items() if signature.digest.hex not in name}
    result = bring([save(without)], store, entries)
    (image,) = result.archives[0].images
    assert image.restored
    assert image.missing == (f"application/vnd.test.signature {signature.digest}",)
    assert bring([save(files)], store, entries).is_complete
    assert [d.digest for d in store.referrers("", manifests[WEB].digest)] == [signature.digest]


def test_an_image_without_a_name_needs_the_lock(tmp_path: Path, store: Store, save: Save) -> None:
    manifests = fill(tmp_path / "origin")
    path = save(layout(tmp_path / "origin", {SHARED: {}}))
    assert only(bring([path], store))[2].startswith("it has no name")
    assert only(bring([path], store, [lock(SHARED, manifests[SHARED].digest)])) == (SHARED, True, "")


def test_a_dry_run_writes_nothing(tmp_path: Path, save: Save) -> None:
    held = Store(tmp_path / "none")
    result = bring([save(skopeo(PAUSE, layers()))], held, dry_run=True)
    assert only(result) == (PAUSE, False, "")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_a_layer_that_is_not_what_its_config_says_is_never_stored(
    store: Store, save: Save, wrap: Callable[[bytes], bytes]
) -> None:
    files = skopeo(PAUSE, layers())
    path = next(name for name in files if name.endswith(".tar"))
    data = bytearray(files[path])  # type: ignore[arg-type]
    data[700] ^= 1
    files[path] = bytes(data)
    with pytest.raises(VerificationError) as caught:
        bring([save(files, "x", wrap)], store)
    assert caught.value.code == "digest-mismatch"
    assert store.references() == ()
    assert Digest.of(bytes(data)) not in {digest for digest, _ in store.iter_blobs()}


def test_a_manifest_that_is_not_what_its_name_says_is_refused(tmp_path: Path, store: Store, save: Save) -> None:
    manifests = fill(tmp_path / "origin")
    files = layout(tmp_path / "origin", CONTAINERD)
    name = f"blobs/sha256/{manifests[WEB].digest.hex}"
    files[name] = manifests[SHARED].raw
    with pytest.raises(VerificationError) as caught:
        bring([save(files)], store)
    assert caught.value.code == "digest-mismatch"


def test_what_was_there_stays_when_a_later_archive_is_bad(store: Store, save: Save) -> None:
    good, bad = save(skopeo(PAUSE, layers()), "good.tar"), save({"x": b"y"}, "bad.tar")
    with pytest.raises(IsthmusError):
        bring([good, bad], store)
    assert [one.name for one in store.references()] == [PAUSE]
    assert_whole(store, PAUSE)
