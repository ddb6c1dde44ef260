"""The format is what docs/bundle-format.md says, and its parsers refuse everything else with our errors."""

import hashlib
import io
import json
import os
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle import KeyPaths, load_public_key, open_volume, verify
from isthmus.bundle.layout import (
    Entry,
    Footer,
    Header,
    RecordHeader,
    Signature,
    pack_entry,
    pack_footer,
    pack_header,
    pack_record,
    parse_entry,
    parse_footer,
    parse_header,
    parse_record,
)
from isthmus.bundle.manifest import canonical, decode_manifest
from isthmus.errors import UsageError, VerificationError
from isthmus.oci import Digest
from tests.bundle.conftest import Bundle
from tests.bundle.independent_reader import read_volume


def collect(streams: list[io.BufferedIOBase]) -> dict[str, bytes]:
    blobs: dict[str, bytearray] = {}
    for stream in streams:
        for kind, digest, offset, total, payload in read_volume(stream):  # type: ignore[arg-type]
            if kind == 2:
                blobs.setdefault(digest, bytearray(total))[offset : offset + len(payload)] = payload
    return {digest: bytes(data) for digest, data in blobs.items()}


def test_another_reader_gets_the_same(signed: Bundle) -> None:
    found = collect([io.BytesIO(path.read_bytes()) for path in signed.volumes])
    assert set(found) == {str(blob.digest) for blob in signed.plan.manifest.blobs}
    assert all(f"sha256:{hashlib.sha256(data).hexdigest()}" == digest for digest, data in found.items())


def test_another_reader_reads_from_a_pipe(signed: Bundle) -> None:
    receiving, sending = os.pipe()

    def feed() -> None:
        with open(sending, "wb") as pipe:
            pipe.write(signed.volumes[0].read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    with open(receiving, "rb") as pipe:
        assert collect([pipe])
    thread.join()


def test_the_manifest_says_what_the_page_says(signed: Bundle) -> None:
    document = json.loads(signed.plan.raw)
    assert set(document) == {
        *("blobs", "fill", "format", "manifests", "name", "references", "requires"),
        *("version", "volume_size", "volumes"),
    }
    assert document["volumes"][0]["records"][0] == [2, 0, 0, document["blobs"][0][1]]
    subjects = [entry for entry in document["manifests"] if entry[2] is not None]
    assert len(subjects) == 1
    assert signed.plan.bundle == hashlib.sha256(signed.plan.raw).hexdigest()
    names = [reference["name"] for reference in document["references"]]
    assert names == sorted(names)


def test_open_volume(signed: Bundle, keys: KeyPaths) -> None:
    volume = open_volume(signed.volumes[1])
    assert (volume.number, volume.bundle) == (2, signed.plan.bundle)
    assert [signature.key_id for signature in volume.header.signatures] == [load_public_key(keys.public).key_id]
    assert volume.seals


raw32 = st.binary(min_size=32, max_size=32)
number64 = st.integers(0, 2**64 - 1)
number32 = st.integers(1, 2**32 - 1)
signatures = st.builds(Signature, raw32, st.binary(min_size=64, max_size=64))
digests = st.one_of(
    raw32.map(lambda raw: Digest(f"sha256:{raw.hex()}")),
    st.binary(min_size=64, max_size=64).map(lambda raw: Digest(f"sha512:{raw.hex()}")),
)
record_headers = st.builds(RecordHeader, st.integers(1, 255), digests, number64, number64, number64)
entries = st.builds(Entry, record_headers, number64, raw32)
footers = st.builds(
    Footer,
    number64,
    number64,
    number64,
    raw32,
    raw32,
    number32,
    number32,
    st.lists(signatures, max_size=8).map(tuple),
)


@given(raw32, number32, number64, number64, number32, st.lists(signatures, max_size=8).map(tuple))
def test_headers_come_back(
    bundle: bytes, volume: int, size: int, manifest: int, records: int, slots: tuple[Signature, ...]
) -> None:
    header = Header(bundle, volume, 2**32 - 1, size, manifest, records, slots)
    assert parse_header(pack_header(header)) == header


@given(record_headers, entries, footers)
def test_structures_come_back(record: RecordHeader, entry: Entry, footer: Footer) -> None:
    assert parse_record(pack_record(record)) == record
    assert parse_entry(pack_entry(entry)) == entry
    assert parse_footer(pack_footer(footer)) == footer


def with_crc(data: bytes) -> bytes:
    return data + struct.pack(">I", zlib.crc32(data))


@settings(max_examples=300)
@given(st.binary(max_size=1020), st.integers(0, 3))
def test_parsers_raise_only_our_errors(data: bytes, which: int) -> None:
    magic = [b"\x89ISV\r\n\x1a\n\0\1\0\0", b"ISVR", b"ISVEND\r\n", b""][which]
    size, parse = [(1020, parse_header), (108, parse_record), (252, parse_footer), (136, parse_entry)][which]
    body = (magic + data).ljust(size, b"\0")[:size]
    with suppress(VerificationError, UsageError):
        parse(with_crc(body) if which < 3 else body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300)
@given(data=st.data())
def test_hostile_manifests_raise_only_our_errors(signed: Bundle, data: st.DataObject) -> None:
    document = json.loads(signed.plan.raw)
    key = data.draw(st.sampled_from(sorted(document)))
    value = document[key]
    if isinstance(value, list) and value and data.draw(st.booleans()):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(json_values)
    else:
        document[key] = data.draw(json_values)
    raw = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
    with suppress(VerificationError, UsageError):
        decode_manifest(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format":"isthmus-bundle","version":1}']
)
def test_junk_manifests(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        decode_manifest(raw)


def change(document: dict[str, Any], what: Callable[[dict[str, Any]], Any]) -> bytes:
    what(document)
    return canonical(document)


@pytest.mark.parametrize(
    "what",
    [
        lambda m: m["blobs"].append(m["blobs"][0]),
        lambda m: m["blobs"].pop(),
        lambda m: m["references"].append(m["references"][0]),
        lambda m: m["references"][0]["blobs"].append(10**6),
        lambda m: m["references"][0].update(blobs=[]),
        lambda m: m["references"][0].update(size=1),
        lambda m: m["manifests"].append([10**6, "x", None]),
        lambda m: m["volumes"].reverse(),
        lambda m: m["volumes"][0]["records"].append(m["volumes"][0]["records"][0]),
        lambda m: m["volumes"][0]["records"][0].__setitem__(3, 2**53),
        lambda m: m["volumes"][0].update(size=1),
        lambda m: m["volumes"].pop(),
        lambda m: m.update(volumes=[]),
        lambda m: m.update(volume_size=70_000),
        lambda m: m.update(name="../x"),
        lambda m: m.update(fill="0" * 2**24),
    ],
)
def test_contradictions_are_refused(signed: Bundle, what: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(VerificationError):
        decode_manifest(change(json.loads(signed.plan.raw), what))


def test_another_encoding_of_the_same_is_refused(signed: Bundle) -> None:
    for raw in (signed.plan.raw + b"\n", signed.plan.raw.replace(b'"fill":', b'"fill": ', 1)):
        with pytest.raises(VerificationError, match="canonical"):
            decode_manifest(raw)


def test_growing(signed: Bundle) -> None:
    """Unknown keys are ignored and unknown kinds skipped; unknown features and versions are refused."""
    document = json.loads(signed.plan.raw)
    document["references"][0]["licence"] = "Apache-2.0"
    document["fill"] = "0" * (len(document["fill"]) + 40 - len('"licence":"Apache-2.0",'))
    document["since"] = "x" * (40 - 11)
    delta = len(canonical(document)) - len(signed.plan.raw)
    for volume in document["volumes"]:
        volume["size"] += delta
    document["volume_size"] += delta
    assert decode_manifest(canonical(document)).references
    for key, value in (("requires", ["delta"]), ("version", 2)):
        with pytest.raises(UsageError) as error:
            decode_manifest(canonical(document | {key: value}))
        assert error.value.code == "invalid-input"
    later = with_crc(signed.volumes[0].read_bytes()[:8] + b"\0\2" + bytes(1010))
    with pytest.raises(UsageError, match="version 2"):
        parse_header(later)


def test_records_of_a_later_kind_are_checked_and_skipped(tmp_path: Path) -> None:
    """A volume with a parity record that this version does not know, made by hand."""
    blob, parity = b"a blob", b"parity of something"
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    media = "application/vnd.oci.image.manifest.v1+json"
    reference = {
        "name": "a.example/b:1",
        "kind": "image",
        "digest": digest,
        "media_type": media,
        "size": len(blob),
        "blobs": [0],
    }
    document: dict[str, Any] = {
        "format": "isthmus-bundle",
        "version": 1,
        "name": "x",
        "blobs": [[digest, len(blob)]],
        "manifests": [],
        "references": [reference],
        "requires": [],
        "fill": "",
        "volume_size": None,
        "later": {"code": "none"},
        "volumes": [{"size": 1000, "records": [[2, 0, 0, len(blob)], [9, 7, 9, len(parity)]]}],
    }
    size = 2048 + len(canonical(document)) + len(blob) + len(parity) + 3 * 280
    document["volumes"][0]["size"] = size
    raw = canonical(document)
    bundle = hashlib.sha256(raw).digest()
    data = pack_header(Header(bundle, 1, 1, size, len(raw), 3, ()))
    headers = [
        (RecordHeader(1, Digest(f"sha256:{bundle.hex()}"), 0, len(raw), len(raw)), raw),
        (RecordHeader(2, Digest(digest), 0, len(blob), len(blob)), blob),
        (RecordHeader(9, Digest("sha256:" + "5" * 64), 9, 99, len(parity)), parity),
    ]
    index = b""
    for header, payload in headers:
        checksum = hashlib.sha256(payload).digest()
        index += pack_entry(Entry(header, len(data), checksum))
        data += pack_record(header) + payload + checksum
    footer = Footer(len(data), len(index), size, hashlib.sha256(index).digest(), bundle, 1, 3, ())
    data += index + pack_footer(footer)
    path = tmp_path / "x-0001.isv"
    path.write_bytes(data)
    assert verify([path]).complete
    path.write_bytes(data.replace(b"parity of something", b"parity of somethinG"))
    assert not verify([path]).complete
