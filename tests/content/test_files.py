"""Files by URL, from isthmus.yaml through lock and pull: pinned, published checksums, trusted, resumed, moved."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from isthmus.content import things
from isthmus.content.fetch import fetch_known
from isthmus.content.files import lock_file
from isthmus.content.pull import pull_things
from isthmus.content.web import Web
from isthmus.errors import VerificationError
from isthmus.inventory.config import Addition
from isthmus.inventory.model import Finding, Ref
from isthmus.oci import Digest
from isthmus.progress import Meter
from isthmus.registry import ConnectionOptions
from isthmus.store import Store
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

DATA = bytes(range(256)) * 20_000
SHA = hashlib.sha256(DATA).hexdigest()


def test_a_pinned_file_is_locked_by_its_size_and_pulled_once(place: Workplace, publisher: Publisher) -> None:
    url = publisher.put("a/b.bin", DATA)
    place.write({"file": url, "sha256": SHA, "serve": "plugins/"})
    assert place.run("lock")[0] == 0
    assert publisher.asked("a/b.bin") == [("HEAD", "")]
    entry = place.entries()[url]
    assert entry.verified_by == ("sha256 in isthmus.yaml",)
    assert (entry.contents[0].digest, entry.contents[0].size) == (f"sha256:{SHA}", len(DATA))
    status, told = place.run("pull")
    assert (status, told["blobs"], told["bytes"], told["reused"]) == (0, 1, len(DATA), 0)
    assert place.run("pull")[1]["reused"] == 1
    with Store.open(place.store) as store:
        (thing,) = things(store)
        assert thing.serve == "plugins/b.bin"
        assert store.blob_path(thing.layers[0].digest).read_bytes() == DATA
    assert place.run("check", "--store", str(place.store))[1] == {"present": 1, "missing": [], "stale": []}
    before = place.lock.read_bytes()
    assert place.run("lock")[1]["changed"] == []
    assert place.lock.read_bytes() == before


def test_what_nobody_vouches_for_is_trusted_once(place: Workplace, publisher: Publisher) -> None:
    url = publisher.put("a/b.bin", DATA)
    place.write({"file": url})
    assert place.run("lock")[0] == 0
    entry = place.entries()[url]
    assert entry.verified_by == ("trusted on first use",)
    assert entry.serve == f"{publisher.host}/a/b.bin"
    gets = publisher.asked("a/b.bin").count(("GET", ""))
    assert place.run("pull")[1]["reused"] == 1
    assert publisher.asked("a/b.bin").count(("GET", "")) == gets == 1
    publisher.put("a/b.bin", DATA[:-1] + b"!")
    assert place.run("lock")[0] == 0  # the size is the same: only the bytes can tell
    place.directory.joinpath(".isthmus").rename(place.directory / "elsewhere")
    status, told = place.run("pull")
    assert (status, told["error"]["code"]) == (4, "digest-mismatch")
    assert place.run("lock", "--trust-anew")[1]["changed"][0].startswith("changed ")
    assert place.run("pull")[0] == 0
    publisher.put("a/b.bin", DATA + b"!")
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "size-mismatch")
    assert "--trust-anew" in told["error"]["hint"]


def test_kubesprays_files_are_pinned_and_served_as_files_repo_expects(
    publisher: Publisher, tmp_path: Path
) -> None:
    path = "dl.k8s.io/release/v1.31.0/bin/linux/amd64/kubelet"
    publisher.put(path, DATA)
    url = f"https://{path}"
    ref = Ref("file", url, findings=(Finding("kubespray:x", rule="kubespray-download", note=f"a; sha256:{SHA}"),))
    web = Web(ConnectionOptions(), {"dl.k8s.io": f"{publisher.url}/dl.k8s.io"})
    with Store.create(tmp_path / "store") as store, web:
        entry = lock_file(ref, Addition(), store, web, None)
        assert (entry.serve, entry.verified_by) == (path, ("checksum of kubespray:x",))
        pull_things([entry], store, web)
        assert [where for thing in things(store) for where, _ in thing.paths()] == [path]
    assert [method for method, where, _ in publisher.log if where == f"/{path}"] == ["HEAD", "GET"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/b.bin.sha256", f"{SHA}\n"),
        ("a/b.bin.sha256sum", f"{SHA}  b.bin\n"),
        ("a/SHA256SUMS", f"{'0' * 64} *c.bin\n{SHA} *b.bin\n"),
        ("a/SHA256SUMS", f"SHA256 (c.bin) = {'0' * 64}\nSHA256 (b.bin) = {SHA}\n"),
        ("a/b.bin.sha512", hashlib.sha512(DATA).hexdigest() + "  b.bin\n"),
    ],
)
def test_what_the_publisher_says_is_believed_and_said(
    place: Workplace, publisher: Publisher, name: str, text: str
) -> None:
    url = publisher.put("a/b.bin", DATA)
    sums = publisher.put(name, text.encode())
    place.write({"file": url})
    assert place.run("lock")[0] == 0
    assert place.entries()[url].verified_by == (f"checksum {sums}",)
    assert place.entries()[url].contents[0].digest == f"sha256:{SHA}"
    assert place.run("pull")[0] == 0


@pytest.mark.parametrize("ending", [".sha256", ".sha512"])
def test_a_wrong_checksum_of_the_publisher_fails(place: Workplace, publisher: Publisher, ending: str) -> None:
    url = publisher.put("b.bin", DATA)
    publisher.put(f"b.bin{ending}", b"0" * (64 if ending == ".sha256" else 128))
    place.write({"file": url})
    status, told = place.run("lock")
    if status == 0:
        status, told = place.run("pull")
    assert (status, told["error"]["code"]) == (4, "digest-mismatch")


def test_a_wrong_pin_fails_and_leaves_nothing(place: Workplace, publisher: Publisher) -> None:
    place.write({"file": publisher.put("b.bin", DATA), "sha256": "0" * 64})
    assert place.run("lock")[0] == 0
    status, told = place.run("pull")
    assert (status, told["error"]["code"]) == (4, "digest-mismatch")
    with Store.open(place.store) as store:
        assert list(things(store)) == []
        assert list(store.iter_blobs()) == []


def test_a_body_that_breaks_off_is_resumed(place: Workplace, publisher: Publisher) -> None:
    url = publisher.put("b.bin", DATA)
    place.write({"file": url, "sha256": SHA})
    place.run("lock")
    publisher.cut["/b.bin"] = 3_000_000
    assert place.run("pull")[0] == 0
    assert publisher.asked("b.bin")[-2:] == [("GET", ""), ("GET", "bytes=3000000-")]


@pytest.mark.parametrize("fault", ["no_ranges", "no_length", "no_validators"])
@pytest.mark.parametrize("pinned", [True, False])
def test_hosts_that_cannot_do_much_are_enough(
    place: Workplace, publisher: Publisher, fault: str, pinned: bool
) -> None:
    setattr(publisher, fault, True)
    url = publisher.put("b.bin", DATA)
    place.write({"file": url, "sha256": SHA} if pinned else {"file": url})
    if fault != "no_length":
        publisher.cut["/b.bin"] = 1_000_000
    assert place.run("lock")[0] == 0
    assert place.run("pull")[0] == 0
    assert place.entries()[url].contents[0].digest == f"sha256:{SHA}"


def test_a_moved_file_is_followed_and_a_mirror_stands_in(
    place: Workplace, publisher: Publisher, tmp_path: Path
) -> None:
    other = Publisher(tmp_path / "other")
    url = publisher.put("b.bin", b"not these")
    publisher.redirect["/b.bin"] = other.put("elsewhere/c.bin", DATA)
    place.write({"file": url, "sha256": SHA})
    place.run("lock")
    assert place.run("pull")[0] == 0
    publisher.broken["/d.bin"] = 404
    other.put("m/d.bin", b"mirrored")
    place.write({"file": f"{publisher.url}/d.bin"}, registries={publisher.host: {"mirrors": [f"{other.url}/m"]}})
    assert place.run("lock")[0] == 0
    assert place.run("pull")[0] == 0
    place.write({"file": "https://far.example/x/d.bin"}, upstreams={"far.example": f"{other.url}/m"})
    other.put("m/x/d.bin", b"stood for")
    assert place.run("lock")[0] == 0
    assert place.run("pull")[0] == 0
    assert place.entries()["https://far.example/x/d.bin"].serve == "far.example/x/d.bin"
    other.server.shutdown()
    other.server.server_close()


def test_a_file_that_is_not_there_is_named(place: Workplace, publisher: Publisher) -> None:
    place.write({"file": f"{publisher.url}/none.zip"})
    status, told = place.run("lock")
    assert status == 3
    assert told["error"]["code"] == "unresolved"
    assert f"{publisher.url}/none.zip" in told["error"]["items"][0]


def test_secrets_in_addresses_are_refused_and_not_repeated(place: Workplace, publisher: Publisher) -> None:
    place.write({"file": f"http://me:hunter2@{publisher.host}/b.bin"})
    status, told = place.run("lock")
    assert status == 2
    assert "hunter2" not in json.dumps(told)


def test_two_files_in_one_place_are_refused(place: Workplace, publisher: Publisher) -> None:
    place.write(
        {"file": publisher.put("a/x", b"1"), "serve": "one/x"},
        {"file": publisher.put("b/x", b"2"), "serve": "one/x"},
    )
    status, told = place.run("lock")
    assert status == 3
    assert "same place" in told["error"]["items"][0]


def test_a_killed_pull_goes_on_where_it_was(place: Workplace, publisher: Publisher) -> None:
    data = os.urandom(1 << 20) * 12
    url = publisher.put("big.bin", data)
    place.write({"file": url, "sha256": hashlib.sha256(data).hexdigest()})
    assert place.run("lock")[0] == 0
    half = threading.Event()
    publisher.cut["/big.bin"] = 8 << 20
    publisher.slow = lambda path: time.sleep(0.05) if not half.is_set() else None
    process = subprocess.Popen([sys.executable, "-m", "isthmus", "pull", "-q"], cwd=place.directory)
    try:
        ingest = place.store / "ingest"
        for _ in range(600):
            if ingest.is_dir() and any(file.stat().st_size > 1 << 20 for file in ingest.iterdir()):
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait(30)
    half.set()
    kept = sum(file.stat().st_size for file in ingest.iterdir())
    before = len(publisher.log)
    status, told = place.run("pull")
    assert status == 0
    if kept and told["blobs"]:
        ranges = [spread for _, path, spread in publisher.log[before:] if path == "/big.bin"]
        assert ranges[0].startswith("bytes=")
    with Store.open(place.store) as store:
        assert store.blob_path(place.entries()[url].contents[0].digest).read_bytes() == data


def test_files_that_age_are_fetched_again_only_when_they_changed(place: Workplace, publisher: Publisher) -> None:
    url = publisher.put("db.bin", DATA)
    place.write({"file": url, "refresh": "1d"})
    assert place.run("lock")[0] == 0
    assert place.run("pull")[0] == 0
    assert place.run("refresh")[1]["changed"] == []
    assert publisher.asked("db.bin").count(("GET", "")) == 1
    publisher.put("db.bin", DATA + b"newer")
    assert place.run("refresh")[1]["changed"] != []
    assert publisher.asked("db.bin").count(("GET", "")) == 2


def test_a_cut_that_looks_like_the_end_is_resumed_and_a_short_file_refused(
    place: Workplace, publisher: Publisher
) -> None:
    publisher.no_length = True
    url = publisher.put("b.bin", DATA)
    with Store.create(place.store) as store, Web(ConnectionOptions(backoff=0.01)) as web:
        publisher.cut["/b.bin"] = 2_000_000
        fetch_known(store, web, url, Digest(f"sha256:{SHA}"), len(DATA), Meter(len(DATA)))
        assert publisher.asked("b.bin")[-1] == ("GET", "bytes=2000000-")
        short = publisher.put("short.bin", b"short")
        with pytest.raises(VerificationError) as caught:
            fetch_known(store, web, short, Digest.of(b"short!"), 6, Meter(6))
        assert caught.value.code == "size-mismatch"
