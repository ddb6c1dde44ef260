"""The read path of the distribution-spec, over real HTTP."""

import json

import pytest

from isthmus.oci import Digest, Manifest
from isthmus.oci.descriptor import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.serve.conftest import LAYER, SIGNATURE, Client, Content

PAUSE = "/v2/mirror/registry.k8s.io/pause"
LAYER_DIGEST = Digest.of(LAYER)


def test_ping(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = client.get(path)
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
        assert "aiohttp" not in answer.headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/mirror/registry.k8s.io/pause/manifests/3.10",
        "/v2/mirror/registry.k8s.io/pause/manifests/3.10?ns=registry.k8s.io",
        "/v2/mirror/registry.k8s.io/pause/manifests/3.10?ns=quay.io",
        "/v2/pause/manifests/3.10?ns=registry.k8s.io",
    ],
)
def test_manifest_by_every_form_of_its_name(client: Client, content: Content, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert got.status == headed.status == 200
    assert got.body == content.pause.raw
    assert headed.body == b""
    for answer in (got, headed):
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.headers["Content-Length"] == str(content.pause.size)
        assert answer.headers["Docker-Content-Digest"] == content.pause.digest
        assert answer.headers["ETag"] == f'"{content.pause.digest}"'


def test_docker_asks_for_its_hub_without_naming_it(client: Client, content: Content) -> None:
    assert client.get("/v2/library/nginx/manifests/latest").body == content.index.raw
    assert client.get("/v2/nginx/manifests/latest").body == content.index.raw
    assert client.get("/v2/pause/manifests/3.10").status == 404


def test_manifest_by_digest_children_and_media_types(client: Client, content: Content) -> None:
    for manifest, media_type in ((content.index, OCI_INDEX), (content.amd64, OCI_MANIFEST)):
        answer = client.get(f"{PAUSE}/manifests/{manifest.digest}")
        assert (answer.status, answer.body) == (200, manifest.raw)
        assert answer.headers["Content-Type"] == media_type
    docker = client.get(f"/v2/mirror/quay.io/a/b/manifests/{content.docker.digest}")
    assert (docker.body, docker.headers["Content-Type"]) == (content.docker.raw, DOCKER_MANIFEST)
    assert client.get("/v2/mirror/localhost__5000/team/app/manifests/Edge").body == content.docker.raw
    assert client.get("/v2/team/app/manifests/Edge?ns=localhost:5000").body == content.docker.raw
    encoded = client.get(f"{PAUSE}/manifests/{str(content.index.digest).replace(':', '%3A')}")
    assert encoded.body == content.index.raw


def test_digest_is_served_only_where_it_belongs(client: Client, content: Content) -> None:
    other = "/v2/mirror/quay.io/a/b"
    assert client.get(f"{other}/manifests/{content.pause.digest}").code == "MANIFEST_UNKNOWN"
    assert client.get(f"{other}/blobs/{LAYER_DIGEST}").code == "BLOB_UNKNOWN"
    # A blob is no manifest, wherever it is.
    assert client.get(f"{PAUSE}/manifests/{LAYER_DIGEST}").code == "MANIFEST_UNKNOWN"


def test_conditional_requests(client: Client, content: Content) -> None:
    for path, digest in (
        (f"{PAUSE}/manifests/3.10", content.pause.digest),
        (f"{PAUSE}/blobs/{LAYER_DIGEST}", LAYER_DIGEST),
    ):
        for known in (f'"{digest}"', f'W/"{digest}"', f'"x", "{digest}"', "*"):
            for answer in (client.get(path, If_None_Match=known), client.head(path, If_None_Match=known)):
                assert (answer.status, answer.body) == (304, b"")
                assert answer.headers["ETag"] == f'"{digest}"'
        assert client.get(path, If_None_Match='"sha256:other"').status == 200


def test_blob(client: Client) -> None:
    got, headed = client.get(f"{PAUSE}/blobs/{LAYER_DIGEST}"), client.head(f"{PAUSE}/blobs/{LAYER_DIGEST}")
    assert (got.status, got.body, headed.status, headed.body) == (200, LAYER, 200, b"")
    for answer in (got, headed):
        assert answer.headers["Content-Length"] == str(len(LAYER))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Docker-Content-Digest"] == LAYER_DIGEST


def test_tags_and_catalog_in_pages(client: Client) -> None:
    assert client.get(f"{PAUSE}/tags/list").json == {"name": PAUSE.removeprefix("/v2/"), "tags": ["3.10", "3.9"]}
    first = client.get(f"{PAUSE}/tags/list?n=1&ns=x")
    assert first.json["tags"] == ["3.10"]
    link = first.headers["Link"]
    assert link == f'<{PAUSE}/tags/list?n=1&last=3.10&ns=x>; rel="next"'
    second = client.get(link[1:].partition(">")[0])
    assert second.json["tags"] == ["3.9"]
    assert "Link" not in second.headers
    assert client.get(f"{PAUSE}/tags/list?n=0").json["tags"] == []
    assert client.get(f"{PAUSE}/tags/list?n=-1").code == "PAGINATION_NUMBER_INVALID"
    assert client.get("/v2/mirror/quay.io/a/b/tags/list").json["tags"] == []
    assert client.get("/v2/mirror/quay.io/none/tags/list").code == "NAME_UNKNOWN"
    names = client.get("/v2/_catalog").json["repositories"]
    assert names == [
        "mirror/docker.io/library/nginx",
        "mirror/localhost__5000/team/app",
        "mirror/quay.io/a/b",
        "mirror/registry.k8s.io/pause",
    ]
    page = client.get(f"/v2/_catalog?n=2&last={names[0]}")
    assert page.json["repositories"] == names[1:3]
    assert page.headers["Link"] == '</v2/_catalog?n=2&last=mirror%2Fquay.io%2Fa%2Fb>; rel="next"'


def test_referrers(client: Client, content: Content) -> None:
    path = f"{PAUSE}/referrers/{content.pause.digest}"
    answer = client.get(path)
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert {entry["digest"] for entry in answer.json["manifests"]} == {
        content.signature.digest,
        content.sbom.digest,
    }
    assert answer.json["schemaVersion"] == 2
    assert "OCI-Filters-Applied" not in answer.headers
    filtered = client.get(f"{path}?artifactType={SIGNATURE}")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert filtered.json["manifests"] == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": content.signature.digest,
            "size": content.signature.size,
            "artifactType": SIGNATURE,
            "annotations": {"about": SIGNATURE},
        }
    ]
    assert client.get(f"{path}?artifactType=none").json["manifests"] == []
    # Never 404, which would say that there is no such API.
    assert client.get(f"/v2/none/referrers/{content.pause.digest}").json["manifests"] == []
    assert client.get(f"{PAUSE}/referrers/{content.index.digest}").json["manifests"] == []
    assert client.get(f"{PAUSE}/referrers/sha256:nonsense").code == "DIGEST_INVALID"
    signature: Manifest = content.signature
    assert client.get(f"{PAUSE}/manifests/{signature.digest}").body == signature.raw
    assert client.get(f"{PAUSE}/blobs/{signature.layers[0].digest}").body == b"signed"


def test_unknown_things(client: Client) -> None:
    nothing = f"sha256:{'0' * 64}"
    for path, code in (
        (f"{PAUSE}/manifests/none", "MANIFEST_UNKNOWN"),
        (f"{PAUSE}/manifests/{nothing}", "MANIFEST_UNKNOWN"),
        (f"{PAUSE}/blobs/{nothing}", "BLOB_UNKNOWN"),
        (f"/v2/mirror/quay.io/none/blobs/{nothing}", "NAME_UNKNOWN"),
        ("/v2/mirror/quay.io/none/manifests/1", "NAME_UNKNOWN"),
    ):
        got = client.get(path)
        assert (got.status, got.code) == (404, code)
        assert got.headers["Content-Type"].startswith("application/json")
        headed = client.head(path)
        assert (headed.status, headed.body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [f"{PAUSE}/blobs/uploads/", f"{PAUSE}/manifests/1", "/v2/", "/v2/a/b"])
def test_writing_is_not_supported(client: Client, method: str, path: str) -> None:
    answer = client.request(method, path, body=b"x" * 100)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_healthz(client: Client) -> None:
    assert json.loads(client.get("/healthz").body) == {"status": "ok"}
