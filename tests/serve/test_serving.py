"""The server as a whole: misses, a store that changes, mappings, TLS, starting and stopping."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme

from isthmus.cli.main import run
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread, serving
from isthmus.store import Store, StoredReference
from tests.serve.conftest import LAYER, Client, Content, fill, put_image

PAUSE = "/v2/mirror/registry.k8s.io/pause"


@pytest.fixture
def own(tmp_path: Path) -> Content:
    return fill(tmp_path / "store")


def test_misses_are_counted_by_original_name_until_they_come_in(own: Content) -> None:
    with serving(own.path, MirrorMap()) as address:
        client = Client(address)
        client.head("/v2/mirror/registry.k8s.io/none/manifests/1?ns=registry.k8s.io")
        client.get("/v2/none/manifests/1?ns=registry.k8s.io")
        client.get("/v2/alpine/manifests/3")
        client.get(f"{PAUSE}/manifests/{Digest.of(b'x')}")
        client.get(f"{PAUSE}/blobs/{Digest.of(b'x')}")
        client.get(f"{PAUSE}/manifests/3.10")
        client.get("/v2/NONSENSE/manifests/1")
        document = client.get("/missing").json
        assert [(item["name"], item["kind"], item["count"]) for item in document["missing"]] == [
            ("docker.io/library/alpine:3", "manifests", 1),
            ("registry.k8s.io/none:1", "manifests", 2),
            (f"registry.k8s.io/pause@{Digest.of(b'x')}", "blobs", 1),
            (f"registry.k8s.io/pause@{Digest.of(b'x')}", "manifests", 1),
        ]
        assert document["missing"][1]["asked"] == "mirror/registry.k8s.io/none"
        assert document["missing"][1]["first"] <= document["missing"][1]["last"]
        with Store.open(own.path) as store:
            store.set_references([StoredReference("registry.k8s.io/none:1", own.pause.descriptor())])
        names = [item["name"] for item in client.get("/missing").json["missing"]]
        assert "registry.k8s.io/none:1" not in names
        assert len(names) == 3
        client.close()


def test_a_store_that_changes_is_served_as_it_is(own: Content) -> None:
    with serving(own.path, MirrorMap()) as address:
        client = Client(address)
        assert client.get("/v2/mirror/quay.io/new/manifests/1").status == 404
        with Store.open(own.path) as store:
            new = put_image(store, [b"new"])
            store.set_references([StoredReference("quay.io/new:1", new.descriptor())])
        assert client.get("/v2/mirror/quay.io/new/manifests/1").body == new.raw
        assert client.get(f"/v2/mirror/quay.io/new/blobs/{Digest.of(b'new')}").body == b"new"
        with Store.open(own.path) as store:
            store.set_references([StoredReference("quay.io/new:1", own.docker.descriptor())])
        assert client.get("/v2/mirror/quay.io/new/manifests/1").body == own.docker.raw
        assert client.get(f"/v2/mirror/quay.io/new/manifests/{new.digest}").status == 404
        with Store.open(own.path) as store:
            store.set_references([], remove=["quay.io/new:1"])
        assert client.get("/v2/mirror/quay.io/new/tags/list").code == "NAME_UNKNOWN"
        client.close()


def test_a_damaged_index_keeps_the_names_that_were(own: Content) -> None:
    with serving(own.path, MirrorMap()) as address:
        client = Client(address)
        index = (own.path / "index.json").read_bytes()
        (own.path / "index.json").write_bytes(b"{")
        assert client.get(f"{PAUSE}/manifests/3.10").status == 200
        (own.path / "index.json").write_bytes(index)
        assert client.get(f"{PAUSE}/manifests/3.10").status == 200
        client.close()


def test_damage_is_an_error_and_not_an_answer(own: Content) -> None:
    with Store.open(own.path) as store:
        manifest, layer = store.blob_path(own.docker.digest), store.blob_path(Digest.of(LAYER))
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b"2", b"3", 1))
    layer.chmod(0o644)
    layer.write_bytes(LAYER[:-1])
    with serving(own.path, MirrorMap()) as address:
        client = Client(address)
        answer = client.get(f"/v2/mirror/quay.io/a/b/manifests/{own.docker.digest}")
        assert (answer.status, answer.code) == (500, "UNKNOWN")
        assert str(own.path) not in answer.body.decode()
        assert client.get(f"{PAUSE}/blobs/{Digest.of(LAYER)}").code == "BLOB_UNKNOWN"
        client.close()


def test_without_a_prefix_it_is_an_upstream(own: Content) -> None:
    with serving(own.path, MirrorMap(prefix="")) as address:
        client = Client(address)
        assert client.get("/v2/registry.k8s.io/pause/manifests/3.10").body == own.pause.raw
        assert client.get("/v2/docker.io/library/nginx/manifests/latest").body == own.index.raw
        assert client.get("/v2/library/nginx/manifests/latest").body == own.index.raw
        client.get("/v2/quay.io/none/manifests/1")
        client.get("/v2/library/none/manifests/1")
        names = [item["name"] for item in client.get("/missing").json["missing"]]
        assert names == ["docker.io/library/none:1", "quay.io/none:1"]
        client.close()


def test_flat_names(own: Content) -> None:
    with serving(own.path, MirrorMap("flat", "")) as address:
        client = Client(address)
        assert client.get("/v2/library/pause/manifests/3.10").body == own.pause.raw
        assert client.get("/v2/pause/manifests/3.10?ns=registry.k8s.io").body == own.pause.raw
        assert client.get("/v2/a/b/tags/list").json["name"] == "a/b"
        assert client.get("/v2/a/b/tags/list?ns=quay.io").status == 200
        # The host is not in the name, but it was said: another host's image must not be given out for it.
        assert client.get("/v2/a/b/tags/list?ns=other.example").code == "NAME_UNKNOWN"
        assert client.get("/v2/pause/manifests/3.10?ns=quay.io").status == 404
        assert client.get("/v2/team/app/manifests/Edge?ns=localhost:5000").body == own.docker.raw
        client.close()
    with Store.open(own.path) as store:
        store.set_references([StoredReference("gcr.io/team/app:1", own.pause.descriptor())])
    with pytest.raises(UsageError) as caught:
        ServerThread(own.path, MirrorMap("flat", ""))
    assert caught.value.code == "mapping-collision"


def test_tls(own: Content, tmp_path: Path) -> None:
    big = os.urandom(1 << 20) + bytes(1_000_000)  # several chunks and a part of one
    with Store.open(own.path) as store:
        image = put_image(store, [big])
        store.set_references([StoredReference("quay.io/big:1", image.descriptor())])
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(tmp_path / "cert.pem", append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    listen = Listen(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with serving(own.path, MirrorMap(), listen) as address:
        connection = http.client.HTTPSConnection(address, context=context, timeout=20)
        connection.request("GET", f"{PAUSE}/blobs/{Digest.of(LAYER)}", headers={"Range": "bytes=1-"})
        response = connection.getresponse()
        assert response.status == 206
        assert response.read() == LAYER[1:]
        connection.request("GET", f"/v2/mirror/quay.io/big/blobs/{Digest.of(big)}")
        assert connection.getresponse().read() == big
        connection.request("GET", f"/v2/mirror/quay.io/big/blobs/{Digest.of(big)}")
        assert connection.getresponse().read(1000) == big[:1000]  # and leave
        connection.close()
    with pytest.raises(UsageError) as caught:
        ServerThread(own.path, MirrorMap(), Listen(certificate=tmp_path / "none", key=tmp_path / "key.pem"))
    assert caught.value.code == "file-not-found"
    with pytest.raises(UsageError) as caught:
        ServerThread(own.path, MirrorMap(), Listen(certificate=tmp_path / "key.pem", key=tmp_path / "key.pem"))
    assert caught.value.code == "invalid-config"


def test_an_address_that_is_taken(content: Content, tmp_path: Path) -> None:
    with serving(content.path, MirrorMap()) as address:
        port = int(address.rpartition(":")[2])
        for listen in (Listen(port=port), Listen(host="192.0.2.1"), Listen(host="no.such.host.invalid")):
            with pytest.raises(UnreachableError) as caught:
                ServerThread(content.path, MirrorMap(), listen)
            assert caught.value.code == "cannot-listen"
    with pytest.raises(UsageError) as missing:
        ServerThread(tmp_path / "none", MirrorMap())
    assert missing.value.code == "store-not-found"


def test_many_at_once_and_clients_that_leave(own: Content) -> None:
    big = os.urandom(1 << 20) * 24
    with Store.open(own.path) as store:
        image = put_image(store, [big])
        store.set_references([StoredReference("quay.io/big:1", image.descriptor())])
    path = f"/v2/mirror/quay.io/big/blobs/{Digest.of(big)}"
    with serving(own.path, MirrorMap()) as address:
        found: list[Digest] = []

        def pull(number: int) -> None:
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request("GET", path)
            response = connection.getresponse()
            if number % 2:
                response.read(1000)  # enough of it
            else:
                found.append(Digest.of(response.read()))
            connection.close()

        threads = [threading.Thread(target=pull, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [Digest.of(big)] * 6
        client = Client(address)
        assert client.get("/healthz").status == 200
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish(own: Content, number: int) -> None:
    big = os.urandom(1 << 20) * 24  # more than the sockets' buffers hold
    with Store.open(own.path) as store:
        image = put_image(store, [big])
        store.set_references([StoredReference("quay.io/big:1", image.descriptor())])
    program = (
        "import sys; from pathlib import Path; from isthmus.serve import Listen, serve_forever;"
        "from isthmus.inventory.mapping import MirrorMap;"
        "serve_forever(Path(sys.argv[1]), MirrorMap(), Listen(), ready=lambda a, _: print(a, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program, own.path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("GET", f"/v2/mirror/quay.io/big/blobs/{Digest.of(big)}")
        response = connection.getresponse()
        data = response.read(1000)
        process.send_signal(number)
        data += response.read()
        connection.close()
        assert Digest.of(data) == Digest.of(big)
        assert process.wait(timeout=20) == 0


def test_misses_are_bounded(own: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.serve.misses.LIMIT", 5)
    with serving(own.path, MirrorMap()) as address:
        client = Client(address)
        for number in range(9):
            client.get(f"{PAUSE}/manifests/none{number}")
        document = json.loads(client.get("/missing").body)
        assert (len(document["missing"]), document["overflow"]) == (5, 4)
        client.close()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--files-dir", "."], "wrong-usage"),
        (["--files-dir", "gone", "--files", "127.0.0.1:0"], "file-not-found"),
        (["--ca", "gone"], "file-not-found"),
        (["--no-console", "--lock", "isthmus.lock"], "wrong-usage"),
    ],
)
def test_options_that_would_do_nothing_are_errors(
    words: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--listen", "127.0.0.1:0", *words]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
