"""Manifests from servers that do what they should not, and referrers without an API. Against the fault server."""

import hashlib

import pytest

from isthmus.errors import IsthmusError, UnreachableError, UsageError, VerificationError
from isthmus.oci import Digest, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.registry import connect
from tests.registry.faults import Asked, FaultServer, Reply
from tests.registry.samples import image, index, options

IMAGE = image(b"layer")
OTHER = image(b"other")


def _served(raw: bytes = IMAGE.raw, kind: str = OCI_MANIFEST, **headers: str) -> Reply:
    return Reply(
        200, raw, {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


def test_by_tag_and_digest(faults: FaultServer) -> None:
    faults.on("GET", "/v2/a/manifests/.*", _served(Docker_Content_Digest=IMAGE.digest))
    with connect(faults.address, options()) as registry:
        assert registry.manifest("a", "v1").raw == IMAGE.raw
        assert registry.manifest("a", IMAGE.digest).digest == IMAGE.digest
    assert OCI_INDEX in faults.requests[-1].header("accept")


def test_sha512(faults: FaultServer) -> None:
    digest = Digest(f"sha512:{hashlib.sha512(IMAGE.raw).hexdigest()}")
    faults.on("GET", f"/v2/a/manifests/{digest}", _served())
    faults.on("PUT", "/v2/a/manifests/.*", Reply(201))
    with connect(faults.address, options()) as registry:
        manifest = registry.manifest("a", digest)
        assert manifest.digest == digest
        registry.put_manifest("a", manifest, "v1")
    assert faults.asked("PUT") == [f"PUT /v2/a/manifests/{digest}", "PUT /v2/a/manifests/v1"]


@pytest.mark.parametrize(
    ("target", "reply", "kind", "code"),
    [
        (IMAGE.digest, _served(OTHER.raw), VerificationError, "digest-mismatch"),
        ("v1", _served(Docker_Content_Digest=OTHER.digest), VerificationError, "digest-mismatch"),
        ("v1", _served(b"<html>"), UnreachableError, "invalid-manifest"),
        ("v1", _served(b""), UnreachableError, "invalid-manifest"),
        ("v1", _served(b"[" * 100_000), UnreachableError, "invalid-manifest"),
        ("v1", _served(b'{"schemaVersion":1}'), UsageError, "schema1-manifest"),
        (Digest.of(b"{}"), _served(b"{}"), VerificationError, "invalid-manifest"),
        ("v1", _served(IMAGE.raw[:50]), UnreachableError, "invalid-manifest"),
        ("v1", Reply(200, b"x", length=MAX_MANIFEST_SIZE + 1), UnreachableError, "protocol"),
        ("v1", Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=b" " * 65536), UnreachableError, "protocol"),
        ("v1", Reply(200, IMAGE.raw, cut=20), UnreachableError, "unreachable"),
        ("v1", Reply(404), UnreachableError, "not-found"),
        ("sha1:abc", Reply(200), UsageError, "invalid-digest"),
    ],
)
def test_wrong_manifests(
    faults: FaultServer, target: str, reply: Reply, kind: type[IsthmusError], code: str
) -> None:
    faults.on("GET", "/v2/a/manifests/.*", reply)
    with connect(faults.address, options()) as registry, pytest.raises(kind) as caught:
        registry.manifest("a", target)
    assert caught.value.code == code


def test_a_cut_manifest_is_asked_for_again(faults: FaultServer) -> None:
    faults.on("GET", "/v2/a/manifests/v1", Reply(200, IMAGE.raw, cut=20), times=2).on("GET", ".*", _served())
    with connect(faults.address, options()) as registry:
        assert registry.manifest("a", "v1").digest == IMAGE.digest


def test_head(faults: FaultServer) -> None:
    faults.on("HEAD", "/v2/a/manifests/v1", _served(Docker_Content_Digest=IMAGE.digest))
    faults.on("HEAD", f"/v2/a/manifests/{OTHER.digest}", _served(Docker_Content_Digest=IMAGE.digest))
    faults.on("HEAD", "/v2/a/manifests/none", Reply(404))
    with connect(faults.address, options()) as registry:
        found = registry.manifest_digest("a", "v1")
        assert found is not None
        assert (found.digest, found.size, found.media_type) == (IMAGE.digest, IMAGE.size, OCI_MANIFEST)
        assert registry.manifest_digest("a", "none") is None
        with pytest.raises(VerificationError):
            registry.has_manifest("a", OTHER.digest)
    assert not faults.asked("GET")


@pytest.mark.parametrize("reply", [_served(), Reply(405), _served(Docker_Content_Digest="sha1:1")])
def test_head_that_says_too_little(faults: FaultServer, reply: Reply) -> None:
    faults.on("HEAD", "/v2/a/manifests/v1", reply).on("GET", "/v2/a/manifests/v1", _served())
    with connect(faults.address, options()) as registry:
        found = registry.manifest_digest("a", "v1")
    assert found is not None
    assert found.digest == IMAGE.digest


def test_put_sends_the_bytes_and_checks_what_was_understood(faults: FaultServer) -> None:
    faults.on("PUT", "/v2/a/manifests/v1", Reply(500), times=1)
    faults.on("PUT", "/v2/a/manifests/v1", Reply(201, headers={"Docker-Content-Digest": IMAGE.digest}), times=1)
    faults.on("PUT", "/v2/a/manifests/v1", Reply(201, headers={"Docker-Content-Digest": OTHER.digest}))
    with connect(faults.address, options()) as registry:
        registry.put_manifest("a", IMAGE, "v1")
        with pytest.raises(VerificationError):
            registry.put_manifest("a", IMAGE, "v1")
    assert {one.body for one in faults.requests} == {IMAGE.raw}
    assert faults.requests[0].header("content-type") == OCI_MANIFEST


def test_a_registry_with_the_referrers_api(faults: FaultServer) -> None:
    signature = image(b"signature", subject=IMAGE, artifact_type="a/signature")
    listed = index(signature)
    faults.on("PUT", f"/v2/a/manifests/{signature.digest}", Reply(201, headers={"OCI-Subject": IMAGE.digest}))
    page = Reply(200, listed.raw, {"Content-Type": OCI_INDEX, "Link": '</v2/a/referrers/x?page=2>; rel="next"'})
    faults.on("GET", f"/v2/a/referrers/{IMAGE.digest}", page)
    faults.on("GET", r"/v2/a/referrers/x\?page=2", Reply(200, index(OTHER).raw, {"Content-Type": OCI_INDEX}))
    with connect(faults.address, options()) as registry:
        registry.put_manifest("a", signature)
        assert [one.digest for one in registry.referrers("a", IMAGE.digest)] == [signature.digest, OTHER.digest]
    assert len(faults.asked("PUT")) == 1


def test_a_registry_without_it_gets_the_tag(faults: FaultServer) -> None:
    tag = f"/v2/a/manifests/sha256-{IMAGE.digest.hex}"
    kept: dict[str, bytes] = {}

    def put(asked: Asked) -> Reply:
        kept[asked.target] = asked.body
        return Reply(201)

    def get(asked: Asked) -> Reply:
        return _served(kept[asked.target], OCI_INDEX) if asked.target in kept else Reply(404)

    faults.on("PUT", ".*", put).on("GET", tag, get)
    first = image(b"1", subject=IMAGE, artifact_type="a/one", note="by one")
    second = image(b"2", subject=IMAGE)
    with connect(faults.address, options()) as registry:
        assert registry.referrers("a", IMAGE.digest) == ()
        for manifest in (first, second, first):
            registry.put_manifest("a", manifest)
        found = registry.referrers("a", IMAGE.digest)
        assert registry.referrers("a", IMAGE.digest, "a/one") == (first.descriptor(),)
    assert [one.digest for one in found] == [first.digest, second.digest]
    assert [one.artifact_type for one in found] == ["a/one", "application/vnd.oci.image.config.v1+json"]
    assert found[0].annotations == {"note": "by one"}
    assert parse_manifest(kept[tag]).media_type == OCI_INDEX
    # That there is no API is learnt once.
    assert len([line for line in faults.asked("GET") if "/referrers/" in line]) == 1


def test_an_image_under_the_referrers_tag_is_not_overwritten(faults: FaultServer) -> None:
    faults.on("GET", f"/v2/a/manifests/sha256-{IMAGE.digest.hex}", _served())
    with connect(faults.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.referrers("a", IMAGE.digest)
    assert caught.value.code == "protocol"


def test_referrers_of_a_proxy_page(faults: FaultServer) -> None:
    faults.on("GET", "/v2/a/referrers/.*", Reply(200, b"<html>", {"Content-Type": "text/html"}))
    with connect(faults.address, options()) as registry:
        assert registry.referrers("a", IMAGE.digest) == ()


def test_delete(faults: FaultServer) -> None:
    faults.on("DELETE", f"/v2/a/manifests/{IMAGE.digest}", Reply(202))
    with connect(faults.address, options()) as registry:
        registry.delete_manifest("a", IMAGE.digest)
        with pytest.raises(UnreachableError) as caught:
            registry.delete_manifest("a", "v1")
    assert caught.value.code == "not-found"
