"""A complete set of volumes, served as it is."""

import os
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, generate_keys, load_private_key, pack, plan_bundle
from isthmus.content import make_file
from isthmus.errors import IsthmusError
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.store import Store, StoredReference
from tests.serve.conftest import SIGNATURE, Client, put_image

LARGE = os.urandom(400_000)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, KeyPaths, str]:
    place = tmp_path_factory.mktemp("packed")
    with Store.create(place / "store") as store:
        image = put_image(store, [LARGE, b"small"], os="linux")
        put_image(store, [b"signed"], subject=image, artifact_type=SIGNATURE)
        make_file(store, "https://example.org/a.zip", LARGE[::-1], serve="a.zip")
        store.set_references([StoredReference("registry.k8s.io/pause:3.10", image.descriptor())])
        keys = generate_keys(place / "key")
        pack(plan_bundle(store, volume_size=150_000), store, place / "bundle", load_private_key(keys.private))
    return place / "bundle", keys, str(image.digest)


def test_a_bundle_is_served_without_unpacking(packed: tuple[Path, KeyPaths, str]) -> None:
    bundle, keys, digest = packed
    assert len(list(bundle.glob("*.isv"))) > 3  # so that blobs span volumes
    listen = Listen(bundle=(bundle,), keys=(keys.public,), files=("127.0.0.1", 0))
    thread = ServerThread(bundle, MirrorMap(), listen)
    client, site = Client(thread.address), Client(thread.files_address)
    try:
        name = "/v2/mirror/registry.k8s.io/pause"
        manifest = client.get(f"{name}/manifests/3.10")
        assert (manifest.status, manifest.headers["Docker-Content-Digest"]) == (200, digest)
        large = manifest.json["layers"][0]["digest"]
        assert client.get(f"{name}/blobs/{large}").body == LARGE
        for first, last in ((0, 0), (100_000, 350_000), (149_000, 151_000), (399_999, 399_999)):
            part = client.get(f"{name}/blobs/{large}", Range=f"bytes={first}-{last}")
            assert (part.status, part.body) == (206, LARGE[first : last + 1])
        assert client.get(f"{name}/referrers/{digest}").json["manifests"][0]["artifactType"] == SIGNATURE
        assert site.get("/a.zip").body == LARGE[::-1]
        assert client.request("POST", f"{name}/blobs/uploads/").status == 405
        assert client.get("/readyz").status == 200
        page = client.get("/console/bundles").body.decode()
        assert "verified" in page
        assert "No bundle is on record" not in page
        metrics = client.get("/metrics").body.decode()
        assert "\nisthmus_bundle_unpacked_timestamp_seconds " in metrics
    finally:
        client.close()
        site.close()
        thread.stop()


def test_what_is_refused(packed: tuple[Path, KeyPaths, str], tmp_path: Path) -> None:
    bundle, _, _ = packed
    other = generate_keys(tmp_path / "other")
    first, *rest = sorted(bundle.glob("*.isv"))
    damaged = tmp_path / first.name
    damaged.write_bytes(first.read_bytes()[:-300] + b"\0" * 300)
    for listen, code in (
        (Listen(bundle=(bundle,), keys=(other.public,)), "bad-signature"),
        (Listen(bundle=tuple(rest)), "missing-volume"),
        (Listen(bundle=(damaged, *rest)), "damaged-volume"),
        (Listen(bundle=(tmp_path / "none",)), "file-not-found"),
    ):
        with pytest.raises(IsthmusError) as raised:
            ServerThread(bundle, MirrorMap(), listen)
        assert raised.value.code == code
