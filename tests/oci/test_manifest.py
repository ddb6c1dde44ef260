"""Manifests and indexes of every kind that is met, and of kinds that must be refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.oci import Descriptor, Digest, Manifest, Platform, parse_manifest
from isthmus.oci import descriptor as types
from isthmus.oci.manifest import MAX_MANIFEST_SIZE


def describe(
    word: str, media_type: str = "application/vnd.oci.image.layer.v1.tar+gzip", **more: Any
) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(word.encode())), "size": len(word), **more}


def child(word: str, platform: str = "", **more: Any) -> dict[str, Any]:
    if platform:
        parts = platform.split("/")
        more["platform"] = {
            "os": parts[0],
            "architecture": parts[1],
            **({"variant": parts[2]} if parts[2:] else {}),
        }
    return describe(word, types.OCI_MANIFEST, **more)


CONFIG = describe("config", "application/vnd.oci.image.config.v1+json")
IMAGE: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": types.OCI_MANIFEST,
    "config": CONFIG,
    "layers": [describe("a"), describe("b"), describe("a")],
}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": types.OCI_INDEX,
    "manifests": [child("x", "linux/amd64")],
}


def encode(document: Any) -> bytes:
    return json.dumps(document, indent=3).encode()


def without(document: dict[str, Any], *keys: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys} | more


def code(document: Any, media_type: str = "") -> str:
    raw = document if isinstance(document, bytes) else encode(document)
    with pytest.raises(UsageError) as caught:
        parse_manifest(raw, media_type, where="here")
    assert caught.value.where == "here"
    assert len(caught.value.message) < 700
    return caught.value.code


def test_an_image() -> None:
    raw = encode(IMAGE)
    manifest = parse_manifest(raw)
    assert manifest.raw == raw
    assert manifest.digest == Digest.of(raw)
    assert manifest.size == len(raw)
    assert (manifest.media_type, manifest.is_index) == (types.OCI_MANIFEST, False)
    assert manifest.config is not None
    assert [blob.digest for blob in manifest.blobs] == [
        CONFIG["digest"],
        *(d["digest"] for d in IMAGE["layers"][:2]),
    ]
    assert manifest.effective_artifact_type == CONFIG["mediaType"]
    assert manifest.descriptor().digest == manifest.digest
    assert manifest.descriptor().is_manifest
    assert parse_manifest(raw, algorithm="sha512").digest == Digest.of(raw, "sha512")


@pytest.mark.parametrize(
    ("document", "announced", "expected"),
    [
        (IMAGE, "", types.OCI_MANIFEST),
        (IMAGE, types.OCI_MANIFEST, types.OCI_MANIFEST),
        (IMAGE, f"{types.OCI_MANIFEST}; charset=utf-8", types.OCI_MANIFEST),
        (IMAGE, types.OCI_MANIFEST.upper(), types.OCI_MANIFEST),
        (IMAGE, "application/json", types.OCI_MANIFEST),
        (without(IMAGE, "mediaType"), "", types.OCI_MANIFEST),
        (without(IMAGE, "mediaType"), types.DOCKER_MANIFEST, types.DOCKER_MANIFEST),
        (without(IMAGE, "mediaType"), "text/plain", types.OCI_MANIFEST),
        (without(IMAGE, mediaType=types.DOCKER_MANIFEST), "", types.DOCKER_MANIFEST),
        (INDEX, types.OCI_INDEX, types.OCI_INDEX),
        (without(INDEX, "mediaType"), "", types.OCI_INDEX),
        (without(INDEX, mediaType=types.DOCKER_LIST), types.DOCKER_LIST, types.DOCKER_LIST),
        (without(IMAGE, layers=None), "", types.OCI_MANIFEST),
        (without(IMAGE, "layers"), "", types.OCI_MANIFEST),
        (without(IMAGE, manifests=None), "", types.OCI_MANIFEST),
        (without(INDEX, layers=None, config=None), "", types.OCI_INDEX),
        (without(INDEX, manifests=None), "", types.OCI_INDEX),
        (without(INDEX, "mediaType", manifests=None), types.OCI_INDEX, types.OCI_INDEX),
        (without(INDEX, "manifests"), types.OCI_INDEX, types.OCI_INDEX),
        (without(INDEX, manifests=[]), "", types.OCI_INDEX),
        (without(IMAGE, annotations=None, subject=None), "", types.OCI_MANIFEST),
    ],
)
def test_media_types(document: Any, announced: str, expected: str) -> None:
    manifest = parse_manifest(encode(document), announced)
    assert manifest.media_type == expected
    assert manifest.is_index == (expected in types.INDEX_TYPES)


@pytest.mark.parametrize(
    ("document", "announced"),
    [
        (IMAGE, types.DOCKER_MANIFEST),
        (IMAGE, types.OCI_INDEX),
        (INDEX, types.OCI_MANIFEST),
        (without(IMAGE, mediaType=types.OCI_INDEX), ""),
        (without(INDEX, mediaType=types.OCI_MANIFEST), ""),
        (without(IMAGE, "mediaType"), types.OCI_INDEX),
        (without(INDEX, "mediaType"), types.OCI_MANIFEST),
        (without(IMAGE, "mediaType", manifests=[]), ""),
        (without(IMAGE, "mediaType", "layers", manifests=[child("x")]), ""),
        (without(INDEX, "mediaType", layers=[]), ""),
        (without(INDEX, config=CONFIG), ""),
        (without(IMAGE, "config"), ""),
        (without(IMAGE, config=None), ""),
        (without(IMAGE, "schemaVersion"), ""),
        (without(IMAGE, schemaVersion=3), ""),
        (without(IMAGE, schemaVersion="2"), ""),
        (without(IMAGE, mediaType="application/vnd.oci.image.config.v1+json"), ""),
        (without(IMAGE, mediaType="x" * 10_000), ""),
        (without(IMAGE, mediaType=5), ""),
        (without(IMAGE, layers={}), ""),
        (without(IMAGE, layers=[None]), ""),
        (without(IMAGE, layers=[{}]), ""),
        (without(IMAGE, layers=[describe("a", size=-1)]), ""),
        (without(IMAGE, layers=[describe("a", size=2**63)]), ""),
        (without(IMAGE, layers=[describe("a", size=1.5)]), ""),
        (without(IMAGE, layers=[describe("a", digest="sha256:../..")]), ""),
        (without(IMAGE, layers=[describe("a", digest="md5:" + "0" * 32)]), ""),
        (without(IMAGE, layers=[describe("a", digest=5)]), ""),
        (without(IMAGE, config=without(CONFIG, digest="x")), ""),
        (without(IMAGE, subject={"digest": "x"}), ""),
        (without(IMAGE, annotations={"a": 1}), ""),
        (without(INDEX, manifests=[describe("x", platform={"os": 5, "architecture": "x"})]), ""),
        ([], ""),
        (None, ""),
        ("text", ""),
        (2, ""),
        (b"", ""),
        (b"{", ""),
        (b"{} {}", ""),
        (b"\xff\xfe{}", ""),
        (b'{"schemaVersion": 2, "config": "\xff"}', ""),
        (b"<html>not found</html>", ""),
        (b"[" * 1_000_000, ""),
        (b'{"a":' * 500_000, ""),
        (b'{"schemaVersion": 2, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"schemaVersion": ' + b"9" * 1_000_000 + b"}", ""),
        (b" " * (MAX_MANIFEST_SIZE + 1), ""),
    ],
)
def test_what_is_refused(document: Any, announced: str) -> None:
    assert code(document, announced) == "invalid-manifest"


@pytest.mark.parametrize(
    ("document", "announced"),
    [
        ({"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": [], "history": []}, ""),
        ({"schemaVersion": 1, "name": "x", "signatures": [{}]}, types.DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1}, types.DOCKER_SCHEMA1),
        ({"schemaVersion": 1, "mediaType": types.OCI_MANIFEST}, ""),
        (IMAGE, types.DOCKER_SCHEMA1_SIGNED),
    ],
)
def test_schema_1(document: Any, announced: str) -> None:
    assert code(document, announced) == "schema1-manifest"


def test_a_field_that_is_there_twice_is_not_read_in_two_ways() -> None:
    """Go takes the last of two equal keys, and keys of another case; so must we, or refuse."""
    first = encode(describe("a"))
    raw = b'{"schemaVersion":2,"config":%s,"layers":[],"layers":[%s]}' % (encode(CONFIG), first)
    assert [layer.digest for layer in parse_manifest(raw).layers] == [describe("a")["digest"]]


def test_a_manifest_of_the_greatest_size() -> None:
    raw = encode(IMAGE)
    assert parse_manifest(raw + b" " * (MAX_MANIFEST_SIZE - len(raw))).size == MAX_MANIFEST_SIZE


def test_an_artifact_with_a_subject() -> None:
    subject = child("subject")
    manifest = parse_manifest(
        encode(without(IMAGE, subject=subject, artifactType="application/vnd.x", annotations={"k": "v"}))
    )
    assert manifest.subject is not None
    assert manifest.subject.digest == subject["digest"]
    assert manifest.effective_artifact_type == "application/vnd.x"
    assert manifest.annotations == {"k": "v"}
    index = parse_manifest(encode(without(INDEX, subject=subject, artifactType="application/vnd.y")))
    assert index.subject is not None
    assert index.effective_artifact_type == "application/vnd.y"


def test_foreign_layers_and_unknown_fields() -> None:
    foreign = describe(
        "w", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://x"], data="eA=="
    )
    manifest = parse_manifest(
        encode(without(IMAGE, layers=[foreign, describe("a", urls=["https://x"])], future=[{}]))
    )
    assert [layer.is_foreign for layer in manifest.layers] == [True, False]


def digests(found: tuple[Descriptor, ...]) -> list[str]:
    return [descriptor.digest for descriptor in found]


def attestation(word: str, about: dict[str, Any]) -> dict[str, Any]:
    note = {"vnd.docker.reference.digest": about["digest"], "vnd.docker.reference.type": "attestation-manifest"}
    return child(word, "unknown/unknown", annotations=note)


def test_select() -> None:
    amd, arm, arm7, none = (
        child("1", "linux/amd64"),
        child("2", "linux/arm64/v8"),
        child("3", "linux/arm/v7"),
        child("4"),
    )
    about_amd, about_arm = attestation("5", amd), attestation("6", arm)
    index = parse_manifest(encode(without(INDEX, manifests=[amd, arm, arm7, none, about_amd, about_arm, amd])))
    everything = [c["digest"] for c in (amd, arm, arm7, none, about_amd, about_arm)]
    assert digests(index.select([])) == everything
    assert digests(index.select([Platform.parse("linux/amd64")])) == [c["digest"] for c in (amd, none, about_amd)]
    assert digests(index.select([Platform.parse("linux/arm64")])) == [c["digest"] for c in (arm, none, about_arm)]
    assert digests(index.select([Platform.parse("linux/arm/v6")])) == [none["digest"]]
    both = index.select({Platform.parse("linux/arm/v7"), Platform.parse("linux/amd64")})
    assert digests(both) == [c["digest"] for c in (amd, arm7, none, about_amd)]


def test_an_index_keeps_its_digest_however_it_is_selected_from() -> None:
    raw = encode(INDEX)
    index = parse_manifest(raw)
    index.select([Platform.parse("linux/riscv64")])
    assert index.raw == raw
    assert index.digest == Digest.of(raw)


def test_descriptors_are_equal_by_digest_and_keep_what_they_say() -> None:
    index = parse_manifest(
        encode(without(INDEX, manifests=[child("x", "linux/arm64/v8"), child("x", "linux/amd64")]))
    )
    one, other = index.manifests
    assert one == other
    assert hash(one) == hash(other)
    assert one != "x"
    assert one.platform == Platform("linux", "arm64", "v8")
    assert len(index.select([])) == 1


words = ["mediaType", "digest", "size", "platform", "annotations", "urls", "os", "architecture"]
known = [types.OCI_MANIFEST, types.OCI_INDEX, types.DOCKER_MANIFEST, CONFIG, child("x", "linux/arm")]
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(), st.text(max_size=5), st.sampled_from(known)
)
json_values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(words), inner, max_size=4)
    ),
    max_leaves=8,
)
fields = ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"]


def check(raw: bytes, announced: str = "") -> None:
    try:
        manifest = parse_manifest(raw, announced)
    except UsageError as error:
        if error.code not in ("invalid-manifest", "schema1-manifest"):
            raise
        return
    assert isinstance(manifest, Manifest)
    assert manifest.raw == raw
    assert manifest.digest == Digest.of(raw)
    assert manifest.select([Platform("linux", "arm")]) is not None
    assert parse_manifest(raw, manifest.media_type) == manifest


@given(st.dictionaries(st.sampled_from(fields), json_values), st.sampled_from(["", types.OCI_INDEX, "x/y"]))
def test_any_document(changes: dict[str, Any], announced: str) -> None:
    for base in (IMAGE, INDEX, {}):
        check(json.dumps({**base, **changes}).encode(), announced)


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@given(st.integers(0, len(encode(IMAGE)) - 1), st.integers(0, 255))
def test_any_byte_changed(at: int, value: int) -> None:
    raw = bytearray(encode(IMAGE))
    raw[at] = value
    check(bytes(raw))
