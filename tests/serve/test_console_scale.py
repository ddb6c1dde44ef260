"""The console over a large store: 5,000 references, 100,000 blobs. No page takes longer than 200 ms."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest
from isthmus.oci.descriptor import OCI_MANIFEST
from isthmus.serve import Listen, ServerThread
from isthmus.store import Store, StoredReference
from tests.serve.conftest import Client

REFERENCES = 5000
LAYERS = 18
PATHS = [
    "",
    "contents",
    "contents?by=component",
    "search",
    "search?q=app-04",
    "search?q=team-3+app&page=3",
    "reference/host-3.example.org/team-3/app-0003:1.0",
    "coverage",
    "coverage?page=90",
    "missing",
    "disk",
    "disk?page=50",
    "bundles",
    "activity",
    "nodes",
    "downloads",
]


def fill(path: Path) -> None:
    """Written as files, not through the store, which would take minutes."""
    entries, references = [], []
    with Store.create(path) as store:
        directory = path / "blobs" / "sha256"

        def put(data: bytes) -> tuple[str, int]:
            name = hashlib.sha256(data).hexdigest()
            (directory / name).write_bytes(data)
            return f"sha256:{name}", len(data)

        for number in range(REFERENCES):
            config = put(json.dumps({"os": "linux", "architecture": "amd64", "n": number}).encode())
            layers = [put(f"layer {number} {at}".encode()) for at in range(LAYERS)]
            document = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": _described("application/vnd.oci.image.config.v1+json", config),
                "layers": [_described("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers],
            }
            digest, size = put(json.dumps(document).encode())
            name = f"host-{number % 12}.example.org/team-{number % 40}/app-{number:04}:1.0"
            references.append(StoredReference(name, Descriptor(OCI_MANIFEST, Digest(digest), size)))
            evidence = (f"ck8s:wc team-{number % 40}/app Deployment/x/y .spec",)
            entries.append(LockEntry("image", name, Digest(digest), OCI_MANIFEST, size, evidence=evidence))
        store.set_references(references)
    write_lock(path / "isthmus.lock", Lock(references=tuple(entries[:-7])))


def _described(media_type: str, blob: tuple[str, int]) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob[0], "size": blob[1]}


@pytest.mark.slow
def test_no_page_is_slow(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    thread = ServerThread(tmp_path / "store", MirrorMap(), Listen())
    try:
        client = Client(thread.address)
        for number in range(2000):
            client.get(f"/v2/mirror/host-{number % 12}.example.org/gone-{number}/manifests/1")
        started = time.monotonic()
        first = client.get("/console/")
        waited = time.monotonic() - started
        assert first.status == 200
        while b"Still reading" in client.get("/console/").body:
            time.sleep(0.1)
        print(f"first page after {waited:.3f} s, complete after {time.monotonic() - started:.1f} s")
        assert waited < 2.0
        times = {}
        for path in PATHS:
            found = []
            for _ in range(3):
                begun = time.process_time()  # server and client alike: other programs must not make it fail
                assert client.get(f"/console/{path}").status == 200
                found.append(time.process_time() - begun)
            times[path] = min(found)
            print(f"{min(found) * 1000:7.1f} ms  {max(found) * 1000:7.1f} ms  /console/{path}")
        assert max(times.values()) < 0.2
        client.close()
    finally:
        thread.stop()
