"""Manifests and volumes that no writer makes: counts too large, records twice, keys and seals confused."""

import hashlib
import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle import (
    KeyPaths,
    load_private_key,
    load_public_key,
    make_receipt,
    open_volume,
    unpack,
    unpack_stream,
    verify,
    verify_stream,
)
from isthmus.bundle.layout import (
    FOOTER_SIZE,
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    Signature,
    pack_footer,
    pack_header,
    parse_footer,
    parse_header,
)
from isthmus.bundle.manifest import canonical, decode_manifest
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything

Change = Callable[[dict[str, Any]], object]


def stream_of(*paths: Path) -> io.BytesIO:
    return io.BytesIO(b"".join(path.read_bytes() for path in paths))


def refused(files: list[Path], site: Path, keys: list[Path], *codes: str) -> None:
    public = [load_public_key(key) for key in keys]
    assert not verify(files, public).complete
    with pytest.raises(VerificationError) as error:
        unpack(files, site, public)
    assert error.value.code in codes
    with pytest.raises(VerificationError) as error:
        unpack_stream(stream_of(*files), site, public)
    assert error.value.code in codes
    assert everything(site) == {}


@pytest.mark.parametrize("number", [0, 1, 3])
def test_volumes_of_two_bundles_with_the_same_key(
    signed: Bundle, foreign: Bundle, keys: KeyPaths, tmp_path: Path, number: int
) -> None:
    """Mix and match: whichever is swapped, under whichever name."""
    files = list(signed.volumes)
    swapped = tmp_path / files[number].name
    shutil.copy(foreign.volumes[number], swapped)
    files[number] = swapped
    refused(files, tmp_path / "site", [keys.public], "foreign-volume")
    refused([signed.volumes[0], foreign.volumes[1]], tmp_path / "site", [keys.public], "foreign-volume")


def test_a_payload_of_another_bundle_under_this_header(
    signed: Bundle, foreign: Bundle, keys: KeyPaths, tmp_path: Path
) -> None:
    files = list(signed.volumes)
    mixed = tmp_path / files[2].name
    mixed.write_bytes(files[2].read_bytes()[:60_000] + foreign.volumes[2].read_bytes()[60_000:])
    files[2] = mixed
    refused(files, tmp_path / "site", [keys.public], "damaged-volume", "bad-signature")


def edited(signed: Bundle, change: Change) -> bytes:
    document = msgspec.to_builtins(signed.plan.manifest, enc_hook=str)
    change(document)
    return canonical(document)


def first_records(document: dict[str, Any]) -> list[Any]:
    records = [list(record) for record in document["volumes"][0]["records"]]
    document["volumes"][0]["records"] = records
    return records


CHANGES: dict[str, Change] = {
    "no volumes": lambda d: d.update(volumes=[]),
    "too many volumes": lambda d: d.update(volumes=d["volumes"] * 15_000),
    "a record twice": lambda d: first_records(d).extend(d["volumes"][0]["records"][:1]),
    "a record in two volumes": lambda d: d["volumes"][-1].update(
        records=[*d["volumes"][-1]["records"], d["volumes"][0]["records"][0]]
    ),
    "a blob twice": lambda d: d.update(blobs=[*d["blobs"], d["blobs"][0]]),
    "a blob nowhere": lambda d: d.update(blobs=[*d["blobs"], ["sha256:" + "0" * 64, 5]]),
    "a manifest twice": lambda d: d.update(manifests=[*d["manifests"], d["manifests"][0]]),
    "a reference twice": lambda d: d.update(references=[*d["references"], d["references"][0]]),
    "an index beyond the blobs": lambda d: d["references"][0].update(blobs=[0, 2**31 - 1]),
    "an index beyond numbers": lambda d: d["references"][0].update(blobs=[0, 2**60]),
    "a huge blob": lambda d: d.update(blobs=[[d["blobs"][0][0], 2**53], *d["blobs"][1:]]),
    "a negative size": lambda d: d.update(blobs=[[d["blobs"][0][0], -1], *d["blobs"][1:]]),
    "a huge length": lambda d: first_records(d)[0].__setitem__(3, 2**53 - 1),
    "a huge offset": lambda d: first_records(d)[0].__setitem__(2, 2**53 - 1),
    "no kind": lambda d: first_records(d)[0].__setitem__(0, 0),
    "a kind beyond a byte": lambda d: first_records(d)[0].__setitem__(0, 256),
    "a fraction": lambda d: d["volumes"][0].update(size=d["volumes"][0]["size"] + 0.5),
    "a boolean": lambda d: d["volumes"][0].update(size=True),
    "a path": lambda d: d.update(name="../../etc/cron.d/x"),
    "an absolute path": lambda d: d.update(name="/etc/x"),
    "a name with a zero": lambda d: d.update(name="x\0y"),
    "a short digest": lambda d: d.update(blobs=[["sha256:00", 1], *d["blobs"][1:]]),
    "a path for a digest": lambda d: d.update(blobs=[["sha256:../../../x", 1], *d["blobs"][1:]]),
    "a sequence beyond numbers": lambda d: d.update(sequence=2**60),
    "a baseline of text": lambda d: d.update(baseline="all of it", requires=["baseline"]),
    "a baseline that is carried": lambda d: d.update(
        baseline={"digests": "0" * 64, "held": [[0, 1]]}, requires=["baseline"]
    ),
    "parity of nothing": lambda d: d.update(
        parity={"code": "cauchy-256", "rows": 1, "shard": 4096, "stripes": 1, "volumes": 1}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_manifest_that_no_writer_makes(signed: Bundle, change: Change, tmp_path: Path) -> None:
    raw = edited(signed, change)
    with pytest.raises(VerificationError):
        decode_manifest(raw)
    header = parse_header(signed.volumes[0].read_bytes())
    data = signed.volumes[0].read_bytes()
    forged = header._replace(bundle=hashlib.sha256(raw).digest(), manifest_size=len(raw))
    body = data[HEADER_SIZE : HEADER_SIZE + RECORD_HEADER_SIZE] + raw + forged.bundle
    path = tmp_path / "bundle-0001.isv"
    path.write_bytes(pack_header(forged) + body + data[HEADER_SIZE + 2 * RECORD_HEADER_SIZE :])
    refused([path], tmp_path / "site", [], "damaged-volume")


@pytest.mark.parametrize(
    "raw", [b'{"format":"isthmus-bundle","format":"isthmus-bundle"}', b"[" * 100_000, b"1e999"]
)
def test_text_that_two_readers_may_take_differently(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        decode_manifest(raw)


def test_a_record_twice_in_the_file(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    data = signed.volumes[0].read_bytes()
    record = list(open_volume(signed.volumes[0]).records())[1].placed
    end = record.position + RECORD_HEADER_SIZE + record.length + 32
    path = tmp_path / signed.volumes[0].name
    path.write_bytes(data[:end] + data[record.position : end] + data[end:])
    refused([path, *signed.volumes[1:]], tmp_path / "site", [keys.public], "damaged-volume", "bad-signature")


def resigned(path: Path, target: Path, header_slot: Signature | None, seal: Signature | None) -> Path:
    data = path.read_bytes()
    header, footer = parse_header(data), parse_footer(data[-FOOTER_SIZE:])
    header = header._replace(signatures=(header_slot,) if header_slot else ())
    target.write_bytes(
        pack_header(header)
        + data[HEADER_SIZE:-FOOTER_SIZE]
        + pack_footer(footer._replace(seals=(seal,) if seal else ()))
    )
    return target


def test_one_signature_cannot_stand_for_another(
    signed: Bundle, foreign: Bundle, keys: KeyPaths, other_keys: KeyPaths, tmp_path: Path
) -> None:
    """Seals, manifests, receipts, and the signatures of another key under this key's id."""
    path = signed.volumes[0]
    volume, strange = open_volume(path), open_volume(foreign.volumes[0])
    good, seal = volume.header.signatures[0], volume.seals[0]
    own, other = load_private_key(keys.private), load_private_key(other_keys.private)
    with Store.open(signed.source) as store:
        receipt = own.sign(make_receipt(store).strip())
    lie = Signature(own.public.key_id, other.sign(volume.contents.raw).value)
    named_after_the_other = Signature(other.public.key_id, good.value)
    pairs = [
        (seal, seal),
        (good, good),
        (strange.header.signatures[0], seal),
        (good, strange.seals[0]),
        (receipt, seal),
        (lie, seal),
        (named_after_the_other, seal),
        (good, None),
        (None, seal),
        (Signature(own.public.key_id, bytes(64)), seal),
        (good, Signature(own.public.key_id, bytes(64))),
    ]
    for number, (slot, sealed) in enumerate(pairs):
        forged = resigned(path, tmp_path / f"{number}.isv", slot, sealed)
        files = [forged, *signed.volumes[1:]]
        refused(files, tmp_path / "site", [keys.public], "bad-signature", "unsigned")
        assert verify([forged, path, *signed.volumes[1:]], [load_public_key(keys.public)]).complete


def test_other_kinds_of_keys(tmp_path: Path, keys: KeyPaths) -> None:
    for algorithm in ("RSA", "EC", "X25519", "ED448"):
        more = ["-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "EC" else []
        private, public = tmp_path / f"{algorithm}.key", tmp_path / f"{algorithm}.pub"
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", algorithm, *more, "-out", str(private)],
            check=True,
            capture_output=True,
        )
        subprocess.run(
            ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)],
            check=True,
            capture_output=True,
        )
        for load, path in ((load_public_key, public), (load_private_key, private)):
            with pytest.raises(UsageError) as error:
                load(path)
            assert error.value.code == "invalid-key"
    with pytest.raises(UsageError):
        load_public_key(keys.private)
    with pytest.raises(UsageError):
        load_private_key(keys.public)


@settings(max_examples=400, deadline=None)
@given(junk=st.binary(max_size=3000), front=st.integers(0, 2500))
def test_any_bytes_behind_any_true_beginning(signed: Bundle, junk: bytes, front: int) -> None:
    """Parsers raise our errors alone."""
    data = signed.volumes[0].read_bytes()[:front] + junk
    try:
        found = verify_stream(io.BytesIO(data))
    except IsthmusError:
        return
    assert not found.complete
