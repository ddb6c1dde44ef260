"""A bundle goes out of one store and into another, whole, byte for byte."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.bundle import (
    BundleReference,
    KeyPaths,
    load_private_key,
    load_public_key,
    pack,
    plan_bundle,
    stage,
    unpack,
    verify,
    volume,
)
from isthmus.bundle.medium import MediumFile
from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.oci import Platform
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything, put_blob, put_image, tree


def test_crosses_whole(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    public = [load_public_key(keys.public)]
    assert len(signed.volumes) > 4
    checked = verify([signed.out], public)
    assert (checked.complete, checked.error(), checked.signed_by) == (True, None, keys.key_id)
    result = unpack([signed.out], tmp_path / "site", public)
    assert tree(tmp_path / "site") == signed.tree
    assert (result.signed_by, result.blobs, result.missing) == (keys.key_id, signed.result.blobs, ())
    assert not (tmp_path / "site.incoming").exists()
    with Store.open(tmp_path / "site") as store:
        app = next(ref for ref in store.references() if ref.name.endswith("app:1.0"))
        assert len(store.referrers(app.repository, app.descriptor.digest)) == 1
        assert [store.verify_blob(digest) for digest, _ in store.iter_blobs()]


def test_volumes_are_as_large_as_was_said(signed: Bundle) -> None:
    sizes = [path.stat().st_size for path in signed.volumes]
    assert sizes == [volume.size for volume in signed.plan.manifest.volumes]
    assert set(sizes[:-1]) == {100_000}
    assert signed.result.bytes == sum(sizes)


def test_without_a_key_a_signature_is_only_claimed(signed: Bundle, keys: KeyPaths) -> None:
    checked = verify([signed.out])
    assert checked.complete
    assert (checked.signed_by, checked.claimed_by) == (None, (keys.key_id,))


def test_same_store_same_bytes(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    again = Bundle(tmp_path, 100_000, seed=1, keys=keys)
    assert again.result == signed.result
    assert {p.name: p.read_bytes() for p in again.out.iterdir()} == {
        p.name: p.read_bytes() for p in signed.out.iterdir()
    }


def test_source_date_epoch_is_the_only_clock(signed: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with Store.open(signed.source) as store:
        assert plan_bundle(store).manifest.created == "1970-01-02T00:00:00Z"
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
        with pytest.raises(UsageError):
            plan_bundle(store)


def test_one_volume_where_no_size_is_given(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, None, seed=3)
    assert [path.name for path in bundle.volumes] == ["bundle-0001.isv"]
    unpack(bundle.volumes, tmp_path / "site")
    assert tree(tmp_path / "site") == bundle.tree


def test_a_few_now_and_the_rest_later(signed: Bundle, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for path in reversed(signed.volumes[1:]):
        with pytest.raises(IncompleteError) as error:
            unpack([path], site)
        assert error.value.code == "missing-volume"
        assert "bundle-0001.isv" in error.value.message
        assert not site.exists()
    unpack([signed.volumes[0]], site)
    assert tree(site) == signed.tree


def test_what_was_seen_intact_is_not_read_again(
    signed: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = tmp_path / "media"
    shutil.copytree(signed.out, media)
    last = media / signed.volumes[-1].name
    last.rename(tmp_path / last.name)
    with pytest.raises(IncompleteError):
        unpack([media], tmp_path / "site")
    read: set[str] = set()

    def counted(file: MediumFile, *args: Any, **kwargs: Any) -> Iterator[memoryview]:
        read.add(file.path.name)
        return volume.payload(file, *args, **kwargs)

    monkeypatch.setattr(stage, "payload", counted)
    unpack([media, tmp_path / last.name], tmp_path / "site")
    assert read == {last.name}
    assert tree(tmp_path / "site") == signed.tree


def test_what_has_changed_since_it_was_seen_is_read_again(signed: Bundle, tmp_path: Path) -> None:
    media = tmp_path / "media"
    shutil.copytree(signed.out, media)
    (media / signed.volumes[-1].name).unlink()
    with pytest.raises(IncompleteError):
        unpack([media], tmp_path / "site")
    first = media / signed.volumes[0].name
    data = bytearray(first.read_bytes())
    data[60_000] ^= 1
    first.write_bytes(data)
    with pytest.raises(VerificationError, match=first.name):
        unpack([media], tmp_path / "site")
    unpack([signed.out], tmp_path / "site")
    assert tree(tmp_path / "site") == signed.tree


def test_into_a_store_that_has_something(signed: Bundle, foreign: Bundle, tmp_path: Path) -> None:
    site = tmp_path / "site"
    unpack([foreign.out], site)
    before = tree(site)
    unpack([signed.out], site)
    assert before.items() - tree(site).items() == {("index.json", before["index.json"])}
    names = {ref.name for ref in Store.open(site).references()}
    assert names == {ref.name for ref in signed.plan.manifest.references}
    again = unpack([signed.out], site)
    assert again.reused == again.blobs


def test_companions_are_for_common_tools(signed: Bundle, keys: KeyPaths) -> None:
    assert (
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=signed.out, check=False).returncode == 0
    )
    if shutil.which("openssl"):
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys.public), "-rawin"]
        command += ["-in", "manifest.json", "-sigfile", "manifest.sig"]
        assert subprocess.run(command, cwd=signed.out, capture_output=True, check=False).returncode == 0


def test_packing_again_writes_only_what_is_lost_or_damaged(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(signed.out, out)
    lost, damaged = out / signed.volumes[2].name, out / signed.volumes[4].name
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    lost.unlink()
    spoiled = bytearray(damaged.read_bytes())
    spoiled[60_000] ^= 255
    damaged.write_bytes(spoiled)
    kept = {path: os.stat(path).st_ino for path in out.glob("*.isv") if path not in (lost, damaged)}
    with Store.open(signed.source) as store:
        assert pack(signed.plan, store, out, load_private_key(keys.private)) == signed.result
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert {path: os.stat(path).st_ino for path in kept} == kept


def test_another_bundle_is_never_overwritten(
    signed: Bundle, foreign: Bundle, keys: KeyPaths, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(foreign.out, out)
    before = everything(out)
    with Store.open(signed.source) as store:
        for key in (load_private_key(keys.private), None):
            with pytest.raises(UsageError) as error:
                pack(signed.plan, store, out, key)
            assert error.value.code == "file-exists"
        shutil.rmtree(out)
        shutil.copytree(signed.out, out)
        with pytest.raises(UsageError, match="signed otherwise"):
            pack(signed.plan, store, out, None)
    assert before.keys() == everything(out).keys()


def test_a_damaged_store_is_found_while_packing(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, 100_000, seed=4)
    shutil.rmtree(bundle.out)
    big = max(bundle.plan.manifest.blobs, key=lambda blob: blob.size)
    with Store.open(bundle.source) as store:
        path = store.blob_path(big.digest)
        sound = path.read_bytes()
        path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        with pytest.raises(VerificationError, match="multi") as error:
            pack(bundle.plan, store, bundle.out)
        assert error.value.code == "damaged-store"
        assert not (bundle.out / "SHA256SUMS").exists()
        path.write_bytes(sound)
        assert pack(bundle.plan, store, bundle.out) == bundle.result
    assert verify([bundle.out]).complete


def test_platforms_choose_what_is_carried(signed: Bundle) -> None:
    with Store.open(signed.source) as store:
        stored = next(ref for ref in store.references() if "multi" in ref.name)
        amd64 = (Platform.parse("linux/amd64"),)
        small = plan_bundle(store, [BundleReference(stored.name, stored.descriptor, platforms=amd64)])
        assert max(blob.size for blob in small.manifest.blobs) < 10_000
        assert small.manifest.references[0].platforms == ("linux/amd64",)


def test_what_is_missing_is_listed(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        manifest = put_image(store, "a.example/b", "1", [b"one layer", b"another layer"])
        for layer in manifest.layers:
            store.blob_path(layer.digest).unlink()
        with pytest.raises(IncompleteError) as error:
            plan_bundle(store)
        assert error.value.code == "missing-content"
        assert len(error.value.items) == 2


def test_refuses_what_makes_no_bundle(tmp_path: Path, signed: Bundle) -> None:
    with Store.create(tmp_path / "store") as store:
        put_blob(store, b"nobody names this")
        with pytest.raises(UsageError, match="nothing to carry"):
            plan_bundle(store)
    with Store.open(signed.source) as store:
        with pytest.raises(UsageError, match="cannot name"):
            plan_bundle(store, name="../escape")
        with pytest.raises(UsageError) as error:
            plan_bundle(store, volume_size=65_536)
        assert error.value.code == "invalid-size"
        least = int(error.value.message.split("at least ")[1].split()[0])
        assert plan_bundle(store, volume_size=least).manifest.volume_size == least
    with pytest.raises(UsageError) as error:
        unpack([tmp_path], tmp_path / "site")
    assert error.value.code == "file-not-found"


def test_progress_ends_at_the_total(signed: Bundle, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    with Store.open(signed.source) as store:
        pack(signed.plan, store, tmp_path / "out", progress=lambda *step: seen.append(step))
    assert seen[-1][0] == seen[-1][1] == signed.plan.size
    for run in (
        lambda step: verify([tmp_path / "out"], progress=step),
        lambda step: unpack([tmp_path / "out"], tmp_path / "s", progress=step),
    ):
        seen.clear()
        run(lambda *step: seen.append(step))
        assert seen[-1][0] == seen[-1][1] > 0
        assert seen == sorted(seen, key=lambda step: step[0])
