"""The file server: ranges, listings, checksums, and paths that cannot leave the directory."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.serve.tree import NotThereError, Tree, split_path
from isthmus.store import Store
from tests.serve.conftest import Client
from tests.serve.test_abuse import raw

DATA = os.urandom(700_000)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Store.create(tmp_path / "store").close()
    root = tmp_path / "store" / "files"
    (root / "opensearch" / "plugins").mkdir(parents=True)
    (root / "opensearch" / "plugin.zip").write_bytes(DATA)
    (root / "opensearch" / "a <b>&.txt").write_text("text")
    (root / "config.yaml").write_text("a: b\n")
    (root / "chart.tgz").write_bytes(b"\x1f\x8b")
    (root / ".hidden").write_text("no")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def site(files: Path) -> Iterator[Client]:
    thread = ServerThread(files.parent, MirrorMap(), Listen(files=("127.0.0.1", 0)))
    client = Client(thread.files_address)
    yield client
    client.close()
    thread.stop()


def test_a_file(site: Client) -> None:
    answer = site.get("/opensearch/plugin.zip")
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Content-Type"] == "application/zip"
    tag = answer.headers["ETag"]
    part = site.get("/opensearch/plugin.zip", Range="bytes=100-199", If_Range=tag)
    assert (part.status, part.body) == (206, DATA[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(DATA)}"
    assert site.get("/opensearch/plugin.zip", Range="bytes=100-", If_Range='"other"').status == 200
    assert site.get("/opensearch/plugin.zip", Range="bytes=700000-").status == 416
    assert site.get("/opensearch/plugin.zip", If_None_Match=tag).status == 304
    head = site.head("/opensearch/plugin.zip")
    assert (head.headers["Content-Length"], head.headers["Accept-Ranges"], head.body) == ("700000", "bytes", b"")
    assert site.get("/chart.tgz").headers["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in site.get("/chart.tgz").headers


def test_listings(site: Client) -> None:
    answer = site.get("/opensearch")
    assert (answer.status, answer.headers["Location"]) == (301, "/opensearch/")
    text = site.get("/opensearch/").body.decode()
    assert '<a href="./a%20%3Cb%3E%26.txt">a &lt;b&gt;&amp;.txt</a>' in text
    assert "<b>" not in text
    names = [one["name"] for one in site.get("/", Accept="application/json").json["entries"]]
    assert names == ["opensearch", "chart.tgz", "config.yaml"]
    assert site.get("//opensearch//plugin.zip").status == 200
    assert site.get("//evil.example/..").headers.get("Location") is None


def test_checksums(site: Client, files: Path) -> None:
    sums = site.get("/opensearch/SHA256SUMS").body
    assert f"{hashlib.sha256(DATA).hexdigest()}  plugin.zip\n".encode() in sums
    subprocess.run(["sha256sum", "-c", "--strict"], input=sums, check=True, cwd=files / "opensearch")
    (files / "opensearch" / "plugin.zip").write_bytes(b"new")
    assert hashlib.sha256(b"new").hexdigest().encode() in site.get("/opensearch/SHA256SUMS").body
    (files / "SHA256SUMS").write_text("as it was delivered\n")
    assert site.get("/SHA256SUMS").body == b"as it was delivered\n"
    assert site.get("/nowhere/SHA256SUMS").status == 404


@pytest.mark.parametrize(
    "path",
    ["/link", "/up/secret", "/pipe", "/.hidden", "/../secret", "/%2e%2e/secret", "/opensearch/../../secret",
     "/opensearch/%2e%2e%2f%2e%2e%2fsecret", "/%00", "/config.yaml/x", "/" + "a" * 300, "/a" * 100, "/%ff",
     "/nothing", "/..%5csecret", "//etc/passwd"],
)  # fmt: skip
def test_nothing_else_is_served(site: Client, path: str) -> None:
    answer = raw(site.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"secret" not in answer


def test_read_only(site: Client) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert site.request(method, "/config.yaml", body=b"x").status == 405
    assert site.get("/config.yaml").body == b"a: b\n"


def test_no_directory_yet(tmp_path: Path) -> None:
    with pytest.raises(NotThereError):
        Tree(tmp_path / "none").items(())


@given(st.text(max_size=40))
def test_parts_are_plain_names(path: str) -> None:
    try:
        parts = split_path(path)
    except (NotThereError, UnicodeEncodeError):
        return
    assert not any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts)
