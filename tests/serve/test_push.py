"""The write path: blobs in every way the specification has, manifests, tags, deletion, names."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.oci.descriptor import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from isthmus.serve import Listen, ServerThread
from isthmus.serve.links import Links
from isthmus.store import Store
from tests.serve.conftest import SIGNATURE, Answer, Client, fill

BLOB = os.urandom(3_000_000)
OCTETS = {"Content-Type": "application/octet-stream"}


class Site:
    """A writable server that can be stopped and started again."""

    def __init__(self, path: Path, mapping: MirrorMap | None = None) -> None:
        self.path = path
        self._mapping = mapping or MirrorMap()
        self.start()

    def start(self) -> None:
        self.thread = ServerThread(self.path, self._mapping, Listen(writable=True))
        self.client = Client(self.thread.address)

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        self.client.close()
        self.thread.stop()

    def blob(self, name: str, data: bytes) -> dict[str, Any]:
        digest = Digest.of(data)
        answer = self.client.request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", OCTETS, data)
        assert answer.status == 201, answer.body
        return {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": str(digest), "size": len(data)}

    def manifest(self, name: str, target: str, **more: Any) -> tuple[bytes, Answer]:
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(name, b"{}"),
            "layers": [self.blob(name, b"layer")],
            **more,
        }
        raw = json.dumps(document).encode()
        path = f"/v2/{name}/manifests/{target or Digest.of(raw)}"
        return raw, self.client.request("PUT", path, {"Content-Type": document["mediaType"]}, raw)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "store")
    yield site
    site.stop()


def open_upload(site: Site, name: str = "team/app") -> str:
    answer = site.client.request("POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202
    return str(answer.headers["Location"])


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_in_one_put(site: Site, algorithm: str) -> None:
    digest = Digest.of(BLOB, algorithm)
    answer = site.client.request("PUT", f"{open_upload(site)}?digest={digest}", OCTETS, BLOB)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert site.client.get(answer.headers["Location"]).body == BLOB
    assert site.client.head(f"/v2/team/other/blobs/{digest}").status == 404


def test_chunks_across_restarts(site: Site) -> None:
    where = open_upload(site)
    digest = Digest.of(BLOB)
    for start in range(0, len(BLOB), 1_000_000):
        chunk = BLOB[start : start + 1_000_000]
        headers = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
        answer = site.client.request("PATCH", where, headers, chunk)
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + len(chunk) - 1}")
        site.restart()
        assert site.client.get(where).headers["Range"] == f"0-{start + len(chunk) - 1}"
    assert site.client.request("PUT", f"{where}?digest={digest}").status == 201
    site.restart()  # what was acknowledged still waits for its manifest
    assert site.client.get(f"/v2/team/app/blobs/{digest}").body == BLOB


def test_a_chunk_out_of_order(site: Site) -> None:
    where = open_upload(site)
    site.client.request("PATCH", where, {"Content-Range": "0-9"}, BLOB[:10])
    for header in ("0-9", "20-29", "9-18"):
        answer = site.client.request("PATCH", where, {"Content-Range": header}, b"x" * 10)
        assert (answer.status, answer.headers["Range"], answer.headers["Location"]) == (416, "0-9", where)
    for header in ("x", "10-", "-1-2", "10-9", "10-30"):
        assert site.client.request("PATCH", where, {"Content-Range": header}, b"x" * 10).status == 400
    answer = site.client.request(
        "PUT", f"{where}?digest={Digest.of(BLOB[:20])}", {"Content-Range": "10-19"}, BLOB[10:20]
    )
    assert answer.status == 201


def test_a_stream_of_unknown_length(site: Site) -> None:
    where = open_upload(site)
    connection = site.client._connection
    connection.request("PATCH", where, body=iter([BLOB[:1_500_000], BLOB[1_500_000:]]), encode_chunked=True)
    assert connection.getresponse().read() == b""
    assert site.client.request("PUT", f"{where}?digest={Digest.of(BLOB)}").status == 201


@pytest.mark.parametrize("way", ["put", "post", "patch"])
def test_other_bytes_than_the_digest_says(site: Site, way: str) -> None:
    digest = Digest.of(b"something else")
    if way == "post":
        answer = site.client.request("POST", f"/v2/team/app/blobs/uploads/?digest={digest}", OCTETS, b"bytes")
    else:
        where = open_upload(site)
        if way == "patch":
            site.client.request("PATCH", where, OCTETS, b"bytes")
        answer = site.client.request("PUT", f"{where}?digest={digest}", OCTETS, b"bytes")
        assert site.client.get(where).status == 404
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert site.client.head(f"/v2/team/app/blobs/{digest}").status == 404
    assert not list((site.path / "ingest").glob("upload-*"))


def test_sessions_belong_to_one_repository(site: Site) -> None:
    where = open_upload(site).replace("team/app", "team/other")
    for method in ("GET", "PATCH", "DELETE"):
        assert site.client.request(method, where).status == 404


def test_cancel(site: Site) -> None:
    where = open_upload(site)
    assert site.client.request("DELETE", where).status == 204
    assert (site.client.get(where).status, site.client.get(where).code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_mounts(site: Site) -> None:
    digest = site.blob("team/app", BLOB)["digest"]
    post = "/v2/team/new/blobs/uploads/?mount="
    assert site.client.request("POST", f"{post}{digest}&from=team/unknown").status == 202
    assert site.client.request("POST", f"{post}{digest}&from=team/app").status == 201
    assert site.client.request("POST", f"/v2/third/blobs/uploads/?mount={digest}").status == 201
    assert site.client.get(f"/v2/third/blobs/{digest}").body == BLOB
    assert site.client.request("POST", f"{post}{Digest.of(b'nowhere')}").status == 202


def test_a_mount_from_what_was_carried(tmp_path: Path) -> None:
    content = fill(tmp_path / "store")
    site = Site(content.path)
    digest = content.pause.layers[0].digest
    assert site.client.request("POST", f"/v2/team/app/blobs/uploads/?mount={digest}").status == 201
    source = "&from=mirror/registry.k8s.io/pause"
    assert site.client.request("POST", f"/v2/team/two/blobs/uploads/?mount={digest}{source}").status == 201
    site.stop()


def test_manifests_by_tag_and_digest(site: Site) -> None:
    raw, answer = site.manifest("team/app", "v1")
    digest = Digest.of(raw)
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/team/app/manifests/{digest}")
    for target in ("v1", digest):
        found = site.client.get(f"/v2/team/app/manifests/{target}")
        assert (found.body, found.headers["Content-Type"]) == (raw, OCI_MANIFEST)
    other, answer = site.manifest("team/app", "", annotations={"a": "b"})
    assert answer.status == 201
    assert site.client.get("/v2/team/app/tags/list").json == {"name": "team/app", "tags": ["v1"]}
    assert site.client.get("/v2/_catalog").json == {"repositories": ["team/app"]}
    site.restart()
    assert site.client.get(f"/v2/team/app/manifests/{Digest.of(other)}").body == other
    with Store.open(site.path) as store:
        assert [one.name for one in store.references()] == [
            "localhost/team/app:v1",
            f"localhost/team/app@{Digest.of(other)}",
        ]


def test_many_tags_at_once(site: Site) -> None:
    raw, _ = site.manifest("team/app", "v1")
    path = f"/v2/team/app/manifests/{Digest.of(raw)}?tag=a&tag=b"
    answer = site.client.request("PUT", path, {"Content-Type": OCI_MANIFEST}, raw)
    assert (answer.status, answer.headers["OCI-Tag"]) == (201, "a, b")
    assert site.client.get("/v2/team/app/tags/list").json["tags"] == ["a", "b", "v1"]


def test_docker_schema_2(site: Site) -> None:
    _, answer = site.manifest("team/app", "docker", mediaType=DOCKER_MANIFEST)
    assert answer.status == 201
    assert site.client.get("/v2/team/app/manifests/docker").headers["Content-Type"] == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (
            {"layers": [{"mediaType": "x/y", "digest": str(Digest.of(b"?")), "size": 1}]},
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        ({"layers": [{"mediaType": "x/y", "digest": str(Digest.of(b"{}")), "size": 3}]}, 400, "SIZE_INVALID"),
        ({"schemaVersion": 1}, 400, "MANIFEST_INVALID"),
        ({"manifests": []}, 400, "MANIFEST_INVALID"),
        ({"annotations": {"a": "b" * 5_000_000}}, 413, "SIZE_INVALID"),
    ],
)
def test_manifests_that_are_refused(site: Site, change: dict[str, Any], status: int, code: str) -> None:
    _, answer = site.manifest("team/app", "v1", **change)
    assert (answer.status, answer.code) == (status, code)
    assert site.client.get("/v2/team/app/manifests/v1").status == 404


def test_a_blob_of_another_repository_does_not_do(site: Site) -> None:
    secret = site.blob("secret/app", b"secret layer")
    _, answer = site.manifest("team/app", "v1", layers=[secret])
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_referrers(site: Site) -> None:
    raw, _ = site.manifest("team/app", "v1")
    subject = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(raw)), "size": len(raw)}
    signature, answer = site.manifest("team/app", "", subject=subject, artifactType=SIGNATURE)
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject["digest"])
    path = f"/v2/team/app/referrers/{subject['digest']}"
    assert [one["digest"] for one in site.client.get(path).json["manifests"]] == [Digest.of(signature)]
    assert site.client.request("DELETE", f"/v2/team/app/manifests/{Digest.of(signature)}").status == 202
    assert site.client.get(path).json["manifests"] == []
    site.restart()
    assert site.client.get(path).json["manifests"] == []
    site.manifest("team/app", "", subject=subject, artifactType=SIGNATURE)
    assert len(site.client.get(path).json["manifests"]) == 1


def test_who_may_push_elsewhere_cannot_sign_here(site: Site) -> None:
    raw, _ = site.manifest("team/app", "v1")
    subject = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(raw)), "size": len(raw)}
    site.manifest("foreign/app", "", subject=subject, artifactType=SIGNATURE)
    assert site.client.get(f"/v2/team/app/referrers/{subject['digest']}").json["manifests"] == []
    assert len(site.client.get(f"/v2/foreign/app/referrers/{subject['digest']}").json["manifests"]) == 1


def test_deleting_a_tag_keeps_the_manifest(site: Site) -> None:
    raw, _ = site.manifest("team/app", "v1")
    assert site.client.request("DELETE", "/v2/team/app/manifests/v1").status == 202
    assert site.client.request("DELETE", "/v2/team/app/manifests/v1").status == 404
    assert site.client.get("/v2/team/app/manifests/v1").status == 404
    path = f"/v2/team/app/manifests/{Digest.of(raw)}"
    assert site.client.get(path).body == raw
    assert site.client.request("DELETE", path).status == 202
    assert site.client.get(path).status == 404


def test_a_moved_tag_leaves_the_old_manifest_to_who_pulls_it(site: Site) -> None:
    old, _ = site.manifest("team/app", "v1")
    new, _ = site.manifest("team/app", "v1", annotations={"new": "yes"})
    assert site.client.get("/v2/team/app/manifests/v1").body == new
    assert site.client.get(f"/v2/team/app/manifests/{Digest.of(old)}").body == old


def test_nothing_is_deleted_that_something_needs(site: Site) -> None:
    raw, _ = site.manifest("team/app", "")
    entry = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(raw)), "size": len(raw)}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    assert (
        site.client.request("PUT", "/v2/team/app/manifests/all", {"Content-Type": OCI_INDEX}, index).status == 201
    )
    blob, child = f"/v2/team/app/blobs/{Digest.of(b'layer')}", f"/v2/team/app/manifests/{Digest.of(raw)}"
    for path in (child, blob):
        answer = site.client.request("DELETE", path)
        assert (answer.status, answer.code) == (405, "DENIED")
        assert site.client.get(path).status == 200
    assert site.client.request("DELETE", f"/v2/team/app/manifests/{Digest.of(index)}").status == 202
    for path in (child, blob):
        assert site.client.request("DELETE", path).status in (202, 404)
        assert site.client.get(path).status == 404


def test_names(tmp_path: Path) -> None:
    """A name of the mapping goes where it leads; another one never takes an upstream image's place."""
    content = fill(tmp_path / "store")
    site = Site(content.path)
    for name in ("mirror/quay.io/new/app", "library/nginx", "mirror/registry.k8s.io/pause"):
        _, answer = site.manifest(name, "pushed")
        assert answer.status == 201
    with Store.open(site.path) as store:
        names = [one.name for one in store.references() if one.tag == "pushed"]
    assert names == ["localhost/library/nginx:pushed", "quay.io/new/app:pushed", "registry.k8s.io/pause:pushed"]
    carried = site.client.get("/v2/mirror/docker.io/library/nginx/tags/list").json["tags"]
    assert carried == ["latest"]
    assert site.client.get("/v2/library/nginx/manifests/latest?ns=docker.io").body == content.index.raw
    assert site.client.get("/v2/library/nginx/manifests/pushed?ns=docker.io").status == 404
    assert site.client.get("/v2/mirror/registry.k8s.io/pause/tags/list").json["tags"] == ["3.10", "3.9", "pushed"]
    site.stop()


def test_flat_names(tmp_path: Path) -> None:
    content = fill(tmp_path / "store")
    site = Site(content.path, MirrorMap(mapping="flat"))
    for name in ("mirror/pause", "mirror/team/new", "a/b"):
        _, answer = site.manifest(name, "pushed")
        assert answer.status == 201
        assert site.client.get(f"/v2/{name}/manifests/pushed").status == 200
    site.restart()
    with Store.open(site.path) as store:
        names = [one.name for one in store.references() if one.tag == "pushed"]
    assert names == ["localhost/a/b:pushed", "localhost/mirror/team/new:pushed", "registry.k8s.io/pause:pushed"]
    site.stop()


def test_asking_before_pushing_is_no_miss(site: Site) -> None:
    site.client.head(f"/v2/team/app/blobs/{Digest.of(BLOB)}")
    assert site.client.get("/missing").json["missing"] == []


def test_collection_beside_pushes(site: Site) -> None:
    """What waits for its manifest stays; what was given up goes."""
    waiting = site.blob("team/app", b"waiting")["digest"]
    raw, _ = site.manifest("team/app", "v1")
    site.client.request("DELETE", "/v2/team/app/manifests/v1")
    site.client.request("DELETE", f"/v2/team/app/manifests/{Digest.of(raw)}")
    site.stop()
    links = Links(site.path / "serve.sqlite", writable=True)
    assert links.needed() == {waiting}
    links.close()
    site.start()
    with Store.open(site.path) as store:
        assert waiting not in store.collect(grace_seconds=0).digests
        assert store.blob_size(Digest.of(raw)) is None
    assert site.client.get(f"/v2/team/app/blobs/{waiting}").body == b"waiting"


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    Store.create(tmp_path / "store").close()
    links = Links(tmp_path / "store" / "serve.sqlite", writable=True)
    links.add("localhost/a", Digest.of(b"1"), "blob")
    links.add("localhost/a", Digest.of(b"2"), "hidden")
    links.expire(time.time() + 1)
    links.close()
    links = Links(tmp_path / "store" / "serve.sqlite", writable=False)
    assert links.needed() == set()
    assert links.of("localhost/a", "hidden") == (Digest.of(b"2"),)
    links.close()


def test_one_server_takes_pushes(site: Site) -> None:
    with pytest.raises(UsageError) as caught:
        ServerThread(site.path, MirrorMap(), Listen(writable=True))
    assert caught.value.code == "store-busy"
    raw, _ = site.manifest("team/app", "v1")
    reading = ServerThread(site.path, MirrorMap())  # others may serve it
    client = Client(reading.address)
    assert client.get("/v2/team/app/manifests/v1").body == raw
    assert client.request("POST", "/v2/team/app/blobs/uploads/").status == 405
    client.close()
    reading.stop()


def test_wrong_methods(site: Site) -> None:
    for method, path in (
        ("POST", "/v2/a/manifests/1"),
        ("PUT", f"/v2/a/blobs/{Digest.of(b'')}"),
        ("PATCH", "/v2/"),
    ):
        answer = site.client.request(method, path)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert "Allow" in answer.headers
