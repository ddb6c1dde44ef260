"""Collection on a schedule, beside pushes."""

import time
from pathlib import Path

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread
from isthmus.store import Store
from tests.serve.conftest import Client, fill, put_blob


def test_what_nothing_names_goes_and_what_is_being_pushed_stays(tmp_path: Path) -> None:
    content = fill(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        gone = Digest(put_blob(store, b"nobody names this")["digest"])
    listen = Listen(writable=True, collect_every=0.3, collect_grace=0.0)
    thread = ServerThread(tmp_path / "store", MirrorMap(), listen)
    client = Client(thread.address)
    try:
        pushed = Digest.of(b"waits for its manifest")
        place = client.request("POST", "/v2/team/app/blobs/uploads/").headers["Location"]
        assert client.request("PUT", f"{place}?digest={pushed}", body=b"waits for its manifest").status == 201
        until = time.monotonic() + 20
        with Store.open(tmp_path / "store") as store:
            while store.blob_size(gone) is not None:
                assert time.monotonic() < until
                time.sleep(0.1)
        time.sleep(0.7)
        assert client.head(f"/v2/team/app/blobs/{pushed}").status == 200
        name = "/v2/mirror/registry.k8s.io/pause"
        manifest = client.get(f"{name}/manifests/3.10")
        assert manifest.headers["Docker-Content-Digest"] == str(content.pause.digest)
        assert client.get(f"{name}/blobs/{manifest.json['layers'][0]['digest']}").status == 200
    finally:
        client.close()
        thread.stop()
