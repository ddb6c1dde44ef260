"""What would starve others is ended, the service goes on, and new certificates are taken up."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread, bodies, listening, uploads
from isthmus.store import Store
from tests.serve.conftest import Client


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.create(tmp_path / "store").close()
    return tmp_path / "store"


@pytest.fixture
def writable(store: Path) -> Iterator[ServerThread]:
    thread = ServerThread(store, MirrorMap(), Listen(writable=True))
    yield thread
    thread.stop()


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def ends(connection: socket.socket) -> bool:
    """Whether the server closes it."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def test_slow_loris(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEADER_SECONDS", 1.0)
    server = ServerThread(store, MirrorMap(), Listen())
    crowd = [connected(server.address) for _ in range(300)]
    for number, connection in enumerate(crowd):
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
    client = Client(server.address)
    started = time.monotonic()
    assert client.get("/healthz").status == 200
    assert time.monotonic() - started < 1
    for connection in crowd:
        with connection:
            assert ends(connection)
    assert time.monotonic() - started < 8
    assert client.get("/healthz").status == 200  # one that asked in time stays
    client.close()
    server.stop()


def test_too_many_connections(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 20)
    server = ServerThread(store, MirrorMap(), Listen())
    crowd = [connected(server.address) for _ in range(30)]
    time.sleep(0.2)
    for connection in crowd:
        connection.settimeout(0.05)
    assert 5 <= sum(map(ends, crowd)) <= 25
    for connection in crowd:
        connection.close()
    time.sleep(0.2)
    client = Client(server.address)
    assert client.get("/healthz").status == 200
    client.close()
    server.stop()


def test_a_body_that_comes_too_slowly(writable: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "CHUNK_SECONDS", 0.5)
    client = Client(writable.address)
    where = client.request("POST", "/v2/a/b/blobs/uploads/").headers["Location"]
    with connected(writable.address) as connection:
        connection.sendall(f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n12345".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
    assert client.get(where).headers["Range"] == "0-4"  # what came is kept
    client.close()


def test_a_body_that_breaks_off(writable: ServerThread) -> None:
    """The client asks how much is there and goes on."""
    client = Client(writable.address)
    where = client.request("POST", "/v2/a/b/blobs/uploads/").headers["Location"]
    data = bytes(range(256)) * 16_384
    with connected(writable.address) as connection:
        head = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data[:3_000_000])
    deadline = time.monotonic() + 30
    status = 0
    while status != 201 and time.monotonic() < deadline:
        # Until the server has seen that the other one is gone, that one has the upload for itself.
        asked = client.request("PATCH", where, {"Content-Range": "1-1"}, b"x")
        if asked.status == 416:
            there = int(asked.headers["Range"].partition("-")[2]) + 1
            there = 0 if there == 1 else there
            rest = {"Content-Range": f"{there}-{len(data) - 1}"}
            status = client.request("PUT", f"{where}?digest={Digest.of(data)}", rest, data[there:]).status
        assert asked.status in (409, 416)
        assert status in (0, 201, 409, 416)
        time.sleep(0.05)
    assert status == 201
    client.close()


def test_an_upload_without_an_end(writable: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter(range(uploads.MIN_FREE + 3_500_000, 0, -1_000_000))
    monkeypatch.setattr(uploads, "_free", lambda _: next(free))
    client = Client(writable.address)
    where = client.request("POST", "/v2/a/b/blobs/uploads/").headers["Location"]
    answer = client.request("PATCH", where, body=b"x" * 6_000_000)
    assert (answer.status, answer.code) == (507, "SIZE_INVALID")
    client.close()
    client = Client(writable.address)
    assert client.get("/healthz").status == 200
    client.close()


def test_certificates_are_loaded_again(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "WATCH_SECONDS", 0.1)
    authority = trustme.CA()
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"

    def issue() -> None:
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(str(key))
        for number, part in enumerate(certificate.cert_chain_pems):
            part.write_to_path(str(chain), append=number > 0)

    def serial(address: str) -> str:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with connected(address) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            found = connection.getpeercert()
        assert found is not None
        return str(found["serialNumber"])

    issue()
    server = ServerThread(store, MirrorMap(), Listen(certificate=chain, key=key))
    first = serial(server.address)
    key.write_text("not a key")
    time.sleep(0.5)
    assert serial(server.address) == first
    issue()
    for _ in range(100):
        if serial(server.address) != first:
            break
        time.sleep(0.05)
    assert serial(server.address) != first
    server.stop()


def test_readiness(store: Path) -> None:
    server = ServerThread(store, MirrorMap(), Listen(writable=True))
    client = Client(server.address)
    assert client.get("/readyz").status == 200
    (store / "index.json").rename(store / "elsewhere")
    assert client.get("/readyz").status == 503
    assert client.get("/metrics").status == 503
    assert client.get("/healthz").status == 200
    client.close()
    server.stop()
