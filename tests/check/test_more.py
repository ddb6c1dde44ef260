"""Registries that lie, file servers, inventories, upgrades, receipts, certificates, ages, JUnit."""

import datetime as dt
import http.server
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from isthmus.bundle.receipt import make_receipt, read_receipt
from isthmus.check import CheckResult, Finding, check, check_store
from isthmus.check.ageing import stale_entries
from isthmus.check.certificates import Server, presented
from isthmus.check.files import check_files
from isthmus.check.junit import junit
from isthmus.check.named import check_names, check_names_in_store
from isthmus.check.upgrade import check_receipt, held_by_receipt, upgrade
from isthmus.content.web import Web
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Ref
from isthmus.oci import Digest, Manifest
from isthmus.registry import ConnectionOptions, Registry, connect
from isthmus.serve import serving
from isthmus.site.pki.authority import Authority, Settings
from isthmus.store import Store
from tests.serve.conftest import Content, fill

PAUSE = "registry.k8s.io/pause:3.10"
NGINX = "docker.io/library/nginx:latest"
PLAIN = ConnectionOptions(plain_http=True, retries=0)


def entry(name: str, manifest: Manifest, **more: object) -> LockEntry:
    return LockEntry("image", name, manifest.digest, manifest.media_type, manifest.size, **more)  # type: ignore[arg-type]


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return fill(tmp_path / "store")


@pytest.fixture
def registry(content: Content) -> Iterator[Registry]:
    with serving(content.path, MirrorMap()) as address, connect(address, PLAIN) as registry:
        yield registry


class Liar(http.server.BaseHTTPRequestHandler):
    """A registry that says the right digest for everything, and sends one manifest for all."""

    protocol_version = "HTTP/1.1"
    sends = b"{}"
    kind = ""
    says = ""

    def do_GET(self) -> None:
        body = self.sends if "manifests" in self.path else b"{}"
        target = self.path.rpartition("/")[2]
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Docker-Content-Digest", target if ":" in target else self.says)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("by_digest", [True, False])
def test_a_registry_that_serves_another_manifest_under_a_digest_is_caught(
    content: Content, *, by_digest: bool
) -> None:
    wanted, other = content.pause, content.docker
    handler = type("OneLiar", (Liar,), {"sends": other.raw, "kind": other.media_type, "says": str(wanted.digest)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with connect(f"127.0.0.1:{server.server_port}", PLAIN) as registry:
                name = f"a.io/x@{wanted.digest}" if by_digest else "a.io/x:1"
                result = check([entry(name, wanted)], registry, MirrorMap())
        finally:
            server.shutdown()
    assert result.present == 0
    assert "sent sha256:" in result.missing[0].why


def test_hashing_again_finds_bytes_that_have_changed(content: Content, registry: Registry) -> None:
    layer = content.pause.layers[0]
    with Store.open(content.path) as store:
        path = store.blob_path(layer.digest)
        path.chmod(0o644)
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
        lock = [entry(PAUSE, content.pause)]
        assert check_store(lock, store).is_complete
        looked = check_store(lock, store, rehash=True)
    assert check(lock, registry, MirrorMap(), deep=True).is_complete
    asked = check(lock, registry, MirrorMap(), rehash=True)
    for result in (looked, asked):
        assert [finding.digest for finding in result.missing] == [str(layer.digest)]
        assert "is damaged" in result.missing[0].why


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "files"
    (root / "tools").mkdir(parents=True)
    (root / "tools/jq").write_bytes(b"binary of jq")
    (root / "a b").mkdir()
    (root / "a b/index.yaml").write_bytes(b"entries: {}")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def thing(name: str, serve: str, path: str, data: bytes, kind: str = "file") -> LockEntry:
    content = LockedContent(path, Digest.of(data), len(data))
    return LockEntry(kind, name, Digest.of(name.encode()), serve=serve, contents=(content,))  # type: ignore[arg-type]


def test_what_the_file_server_should_have(files: str) -> None:
    lock = [
        thing("https://x/jq", "tools/jq", "jq", b"binary of jq"),
        thing("tree", "a b", "index.yaml", b"entries: {}", "packages"),
        thing("https://x/gone", "tools/gone", "gone", b"?"),
        thing("https://x/short", "tools/jq", "jq", b"longer than the binary of jq"),
        thing("https://x/other", "tools/jq", "jq", b"binary of JQ"),
        LockEntry("image", PAUSE, Digest.of(b"")),
    ]
    with Web(PLAIN) as web:
        shallow, deep = (check_files(lock, files, web, rehash=rehash) for rehash in (False, True))
    assert shallow.present == 3
    assert {finding.name for finding in shallow.missing} == {"https://x/gone", "https://x/short"}
    assert deep.present == 2
    assert {finding.name for finding in deep.missing} == {"https://x/gone", "https://x/short", "https://x/other"}


def test_names_of_an_inventory(content: Content, registry: Registry) -> None:
    refs = [
        Ref("image", PAUSE),
        Ref("image", "registry.k8s.io/pause:4.0"),
        Ref("image", f"quay.io/a/b@{content.docker.digest}"),
        Ref("file", "https://example.org/tool"),
        Ref("chart", "https://charts.example.org#web"),
    ]
    asked = check_names(refs, registry, MirrorMap())
    with Store.open(content.path) as store:
        looked = check_names_in_store(refs, store)
    for result in (asked, looked):
        assert result.present == 2
        assert [finding.name for finding in result.missing] == [
            "https://charts.example.org#web",
            "https://example.org/tool",
            "registry.k8s.io/pause:4.0",
        ]


def test_an_upgrade_counts_what_is_not_there_once(content: Content, tmp_path: Path) -> None:
    lock = [entry(PAUSE, content.pause), entry(NGINX, content.index), entry("a.io/again:1", content.pause)]
    with Store.open(content.path) as known, Store.create(tmp_path / "site") as site:
        nothing = upgrade(lock, check_store(lock, site), lambda _, part: site.has_blob("", part), known)
        assert (nothing.ready, len(nothing.carry), nothing.exact) == (0, 3, True)
        every = {content.pause.digest: content.pause.size}
        every |= {blob.digest: blob.size for blob in content.pause.blobs}
        by_name = {each.name: each.bytes for each in nothing.carry}
        assert sorted([by_name[PAUSE], by_name["a.io/again:1"]]) == [0, sum(every.values())]
        unknown = upgrade(lock, check_store(lock, site), lambda _, __: False)
        assert not unknown.exact
        assert unknown.bytes == sum(each.size for each in lock)
        receipt = tmp_path / "receipt"
        receipt.write_bytes(make_receipt(known))
        said = read_receipt(receipt)
        again = upgrade(lock, check_receipt(lock, said), held_by_receipt(said), known)
        assert [(each.name, each.bytes) for each in again.carry] == [("a.io/again:1", 0)]  # only its name


def test_certificates_that_servers_show_and_how_long_they_live(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki", Settings(name="t"))
    authority.create()
    place = authority.issue("a", ["localhost", "127.0.0.1"], life=5 * 86400)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    now = dt.datetime.now(dt.UTC)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        context.wrap_socket(listener, server_side=True) as tls,
    ):
        port = tls.getsockname()[1]

        def accept() -> None:
            tls.accept()[0].close()

        thread = threading.Thread(target=accept)
        thread.start()
        closed = Server("nobody", "127.0.0.1", 1)
        good, absent = presented([Server("registry", "localhost", port, "127.0.0.1"), closed], now)
        thread.join()
    assert good.names == ("localhost", "127.0.0.1")
    assert 4 < good.days <= 5
    assert good.finding(1) is None
    assert "ends on" in str(good.finding(14))
    assert "cannot be seen" in str(absent.finding(0))


def test_what_of_a_lock_is_stale() -> None:
    now = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    digest = Digest.of(b"")
    lock = [
        LockEntry("artifact", "a.io/db:2", digest, max_age=86400, created="2026-11-20T00:00:00Z"),
        LockEntry(
            "artifact", "a.io/db:3", digest, max_age=86400, created="2020-01-01", checked="2026-11-23T12:00:00Z"
        ),
        LockEntry("artifact", "a.io/db:4", digest, created="2020-01-01T00:00:00Z"),
    ]
    assert [str(each) for each in stale_entries(lock, now)] == [
        "a.io/db:2: it is stale: 4 d old, at most 24 h are good"
    ]


def test_junit_holds_what_xml_can_hold() -> None:
    found = [Finding('b<&"\x00', "it is \x0bnot there"), Finding('b<&"\x00', "nor this")]
    data = junit({"references": (["a", 'b<&"\x00'], found), "none": ([], [])})
    root = ET.fromstring(data)
    assert root.attrib | {"name": ""} == {"name": "", "tests": "2", "failures": "1", "errors": "0"}
    cases = root.findall("testsuite/testcase")
    assert [case.find("failure") is None for case in cases] == [True, False]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "it is not there; nor this"
    assert junit({"references": (["a", 'b<&"\x00'], found), "none": ([], [])}) == data


def test_results_are_plain_documents() -> None:
    assert msgspec.to_builtins(CheckResult(1)) == {"present": 1, "missing": (), "stale": ()}
