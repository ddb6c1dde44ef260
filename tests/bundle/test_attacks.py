"""Volumes made by somebody who knows the format and mends every checksum, but has no key."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isthmus.bundle import (
    BundlePlan,
    KeyPaths,
    load_private_key,
    load_public_key,
    open_volume,
    pack,
    plan_bundle,
    unpack,
    verify,
)
from isthmus.bundle.fitting import fit
from isthmus.bundle.layout import (
    FOOTER_SIZE,
    RECORD_HEADER_SIZE,
    Entry,
    Footer,
    Header,
    pack_entry,
    pack_footer,
    pack_header,
    parse_footer,
    parse_header,
)
from isthmus.bundle.manifest import BundleManifest, canonical
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.oci import Digest, parse_manifest
from isthmus.store import Store
from tests.bundle.conftest import Bundle, as_json, everything, put_blob, tree


def forge(path: Path, spoil: Callable[[bytearray], None], which: int) -> None:
    """Change a record's payload and set its trailer, the index and the footer right again."""
    volume = open_volume(path)
    data = bytearray(path.read_bytes())
    records = list(volume.records())
    entries = []
    for number, record in enumerate(records):
        placed = record.placed
        assert placed.header is not None
        start = placed.position + RECORD_HEADER_SIZE
        payload = data[start : start + placed.length]
        if number == which:
            spoil(payload)
        checksum = hashlib.sha256(payload).digest()
        data[start : start + placed.length + 32] = payload + checksum
        entries.append(pack_entry(Entry(placed.header, placed.position, checksum)))
    footer = parse_footer(bytes(data[-FOOTER_SIZE:]))
    index = b"".join(entries)
    data[footer.index_offset :] = index + pack_footer(footer._replace(index_sha256=hashlib.sha256(index).digest()))
    path.write_bytes(data)


def flip(payload: bytearray) -> None:
    payload[0] ^= 1


@pytest.fixture
def media(signed: Bundle, tmp_path: Path) -> Path:
    shutil.copytree(signed.out, tmp_path / "media")
    return tmp_path / "media"


def refused(media: Path, place: Path, code: str, *keys: Path) -> IsthmusError:
    public = [load_public_key(key) for key in keys]
    assert not verify([media], public).complete
    with pytest.raises(VerificationError) as error:
        unpack([media], place / "site", public)
    assert error.value.code == code
    assert not (place / "site").exists()
    return error.value


def test_a_whole_blob_cannot_be_exchanged(media: Path, signed: Bundle, tmp_path: Path) -> None:
    forge(media / signed.volumes[0].name, flip, which=1)
    refused(media, tmp_path, "damaged-volume")


def test_a_part_of_a_blob_cannot_be_exchanged(media: Path, signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    """No single record tells, but the blob does; with a key, the seal tells at once."""
    tables = signed.plan.manifest.volumes
    number = next(n for n, table in enumerate(tables) if table.records[-1].offset and len(table.records) == 1)
    forge(media / signed.volumes[number].name, flip, which=1)
    assert "seal" in refused(media, tmp_path, "bad-signature", keys.public).message
    refused(media, tmp_path, "damaged-volume")
    unpack([signed.out], tmp_path / "site")
    assert tree(tmp_path / "site") == signed.tree


def test_a_signature_cannot_be_taken_from_another_bundle(
    media: Path, signed: Bundle, foreign: Bundle, keys: KeyPaths, tmp_path: Path
) -> None:
    stolen = open_volume(foreign.volumes[0]).header.signatures
    for path in media.glob("*.isv"):
        data = path.read_bytes()
        header = parse_header(data)._replace(signatures=stolen)
        path.write_bytes(pack_header(header) + data[1024:])
    refused(media, tmp_path, "bad-signature", keys.public)


def test_a_volume_cannot_stand_for_another(media: Path, signed: Bundle, tmp_path: Path) -> None:
    path = media / signed.volumes[1].name
    data = path.read_bytes()
    header = parse_header(data)._replace(volume=3)
    footer = parse_footer(data[-FOOTER_SIZE:])._replace(volume=3)
    path.write_bytes(pack_header(header) + data[1024:-FOOTER_SIZE] + pack_footer(footer))
    (media / signed.volumes[2].name).unlink()
    refused(media, tmp_path, "damaged-volume")


def test_names_of_files_do_not_matter(media: Path, signed: Bundle, tmp_path: Path) -> None:
    first, second = (media / path.name for path in signed.volumes[:2])
    first.rename(media / "spare.isv")
    second.rename(first)
    unpack([media], tmp_path / "site")
    assert tree(tmp_path / "site") == signed.tree


@pytest.mark.parametrize(
    "numbers", [{"manifest_size": 2**63}, {"records": 2**32 - 1}, {"volumes": 2**32 - 1}, {"size": 2**63}]
)
def test_impossible_numbers(media: Path, signed: Bundle, tmp_path: Path, numbers: dict[str, Any]) -> None:
    path = media / signed.volumes[0].name
    data = path.read_bytes()
    path.write_bytes(pack_header(parse_header(data)._replace(**numbers)) + data[1024:])
    refused(media, tmp_path, "damaged-volume")


@pytest.mark.parametrize("field", ["index_offset", "index_size", "size", "volume", "records"])
@pytest.mark.parametrize("value", [0, 1, 2**32 - 1])
def test_impossible_footers(media: Path, signed: Bundle, tmp_path: Path, field: str, value: int) -> None:
    path = media / signed.volumes[2].name
    data = path.read_bytes()
    footer = parse_footer(data[-FOOTER_SIZE:])
    numbers: dict[str, Any] = {field: value}
    changed: Footer = footer._replace(**numbers)
    path.write_bytes(data[:-FOOTER_SIZE] + pack_footer(changed))
    refused(media, tmp_path, "damaged-volume")


def test_a_bundle_of_bad_names_leaves_the_store_alone(signed: Bundle, foreign: Bundle, tmp_path: Path) -> None:
    """Even signed with the right key: a name that is none, or one pinned to another digest."""
    site = tmp_path / "site"
    unpack([foreign.out], site)
    before = everything(site)
    good = signed.plan.manifest.references[0].name
    for number, name in enumerate(["../../etc/passwd", "UPPER/case", "x" * 2000, f"{good}@sha256:{'0' * 64}"]):
        changed = replaced_first_name(signed.plan.manifest, name)
        plan = fit(changed, None)
        out = tmp_path / f"out{number}"
        with Store.open(signed.source) as store:
            pack(plan, store, out)
        with pytest.raises(IsthmusError):
            unpack([out], site)
        assert everything(site) == before


def replaced_first_name(manifest: BundleManifest, name: str) -> BundleManifest:
    first, *rest = manifest.references
    return msgspec.structs.replace(manifest, references=(msgspec.structs.replace(first, name=name), *rest))


def test_features_of_a_later_version_are_refused(signed: Bundle, tmp_path: Path) -> None:
    manifest = msgspec.structs.replace(signed.plan.manifest, requires=("telepathy",))
    raw = canonical(manifest)
    header = Header(hashlib.sha256(raw).digest(), 1, 1, 10_000, len(raw), 2, ())
    path = tmp_path / "x-0001.isv"
    path.write_bytes(pack_header(header) + bytes(RECORD_HEADER_SIZE) + raw)
    with pytest.raises(UsageError, match="telepathy"):
        verify([path])


def test_links_are_not_followed_when_packing(signed: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, out / "bundle-0001.isv.partial")
    with Store.open(signed.source) as store, pytest.raises(IsthmusError):
        pack(signed.plan, store, out)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("size", [0, 5_000, 300_000])
def test_sha512_blobs_cross_too(tmp_path: Path, keys: KeyPaths, size: int) -> None:
    layer = os.urandom(size)
    with Store.create(tmp_path / "source") as store:
        config = put_blob(store, b"{}", "application/vnd.oci.image.config.v1+json")
        blob = msgspec.structs.replace(config, digest=Digest.of(layer, "sha512"), size=size)
        with store.write_blob("a.example/b", blob) as writer:
            writer.write(memoryview(layer))
            writer.commit()
        document = {"schemaVersion": 2, "config": as_json(config), "layers": [as_json(blob)]}
        document["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
        store.put_manifest("a.example/b", parse_manifest(msgspec.json.encode(document)), "1")
        plan: BundlePlan = plan_bundle(store, volume_size=100_000)
        pack(plan, store, tmp_path / "out", load_private_key(keys.private))
    assert verify([tmp_path / "out"], [load_public_key(keys.public)]).complete
    unpack([tmp_path / "out"], tmp_path / "site")
    assert tree(tmp_path / "site") == tree(tmp_path / "source")


def test_an_unusable_place(signed: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for run in (
        lambda: unpack([signed.out], tmp_path / "file"),
        lambda: unpack([signed.out], tmp_path / "file" / "store"),
        lambda: pack_into(signed, tmp_path / "file"),
    ):
        with pytest.raises(IsthmusError):
            run()
    assert (tmp_path / "file").read_text() == "in the way"


def pack_into(signed: Bundle, place: Path) -> Any:
    with Store.open(signed.source) as store:
        return pack(signed.plan, store, place)
