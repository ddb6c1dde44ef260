"""What is not an image, served straight from the store: files, trees, charts and git repositories."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.content import make_chart, make_file, make_git, make_tree
from isthmus.errors import UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.serve.chart_index import chart_yaml
from isthmus.store import Store
from tests.serve.conftest import Client

PLUGIN = os.urandom(300_000)
URL = "https://artifacts.opensearch.org/releases/plugin-1.0.zip"
USERS = "user:$2y$04$jza5UQLflduAl4ZGYDs88.WRLsdMuYx6WVdPF5aLxqZ80.UfswQDO\n"


def packaged(name: str, version: str, more: str = "") -> bytes:
    text = f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: '1.10'\n{more}".encode()
    raw = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        member = tarfile.TarInfo(f"{name}/Chart.yaml")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return raw.getvalue()


def git(*arguments: str, cwd: Path | None = None) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_TERMINAL_PROMPT": "0",
    }
    done = subprocess.run(
        ["git", *arguments], check=False, cwd=cwd, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bare_repository(place: Path, commits: int = 3) -> Path:
    work, bare = place / "work", place / "bare"
    git("init", "-q", "-b", "main", str(work))
    for number in range(commits):
        (work / "file").write_text(f"{number}\n" * 1000)
        git("add", "file", cwd=work)
        git("commit", "-q", "-m", f"commit {number}", cwd=work)
    git("tag", "-a", "v1", "-m", "v1", cwd=work)
    git("clone", "-q", "--bare", str(work), str(bare))
    git("repack", "-adq", cwd=bare)
    git("update-server-info", cwd=bare)
    for name in ("hooks", "branches", "info/exclude", "description", "config", "logs"):
        path = bare / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return bare


def fill(path: Path) -> None:
    with Store.create(path) as store:
        make_file(store, URL, PLUGIN, serve="plugins/plugin-1.0.zip", created="2026-01-02T03:04:05Z")
        make_file(store, "https://example.org/other", b"other", serve="plugins/other")
        tree = {
            "dists/stable/Release": b"Suite: stable\n",
            "pool/a.deb": b"deb",
            ".treeinfo": b"hidden, but carried",
        }
        make_tree(store, "packages", "https://deb.example.org/debian", tree, serve="apt")
        dependencies = "dependencies:\n- name: b\n  version: ^1\n  repository: https://example.org\n"
        make_chart(store, "https://charts.example.org#a?version=1.0.0+x", packaged("a", "1.0.0+x", dependencies),
                   chart="a", version="1.0.0+x", serve="vendor", provenance=b"signed")  # fmt: skip
        make_chart(
            store, "https://charts.example.org#a?version=2", packaged("a", "2.0.0"), chart="a", version="2.0.0"
        )
        make_chart(store, "https://charts.example.org#bad", b"no archive", chart="bad", version="1")
        make_git(store, "https://github.com/org/repo", bare_repository(path.parent), serve="git/org/repo.git")
    (path / "files" / "plugins").mkdir(parents=True)
    (path / "files" / "plugins" / "local").write_text("local")
    (path / "files" / "plugins" / "other").write_text("not this one")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifacts") / "store"
    fill(path)
    return path


@pytest.fixture(scope="module")
def thread(store: Path) -> Iterator[ServerThread]:
    thread = ServerThread(store, MirrorMap(), Listen(files=("127.0.0.1", 0)))
    yield thread
    thread.stop()


@pytest.fixture
def site(thread: ServerThread) -> Iterator[Client]:
    client = Client(thread.files_address)
    yield client
    client.close()


@pytest.mark.parametrize("path", ["/plugins/plugin-1.0.zip", "/artifacts.opensearch.org/releases/plugin-1.0.zip"])
def test_a_file_by_its_path_and_by_its_url(site: Client, path: str) -> None:
    answer = site.get(path)
    assert (answer.status, answer.body) == (200, PLUGIN)
    digest = f"sha256:{hashlib.sha256(PLUGIN).hexdigest()}"
    changed = "Fri, 02 Jan 2026 03:04:05 GMT"
    assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == (f'"{digest}"', changed)
    assert answer.headers["Content-Type"] == "application/zip"
    assert site.get(path, Range="bytes=5-9", If_Range=f'"{digest}"').body == PLUGIN[5:10]
    assert site.get(path, Range="bytes=5-9", If_Range=changed).status == 206
    assert site.get(path, Range="bytes=5-9", If_Range="Fri, 02 Jan 2026 03:04:06 GMT").status == 200
    assert site.get(path, If_Modified_Since=changed).status == 304
    assert site.get(path, If_Modified_Since="Fri, 02 Jan 2027 03:04:05 GMT").status == 200
    assert site.get(path, Range="bytes=400000-").status == 416
    head = site.head(path)
    assert (head.headers["Content-Length"], head.body) == (str(len(PLUGIN)), b"")


def test_listings_and_sums(site: Client) -> None:
    entries = site.get("/plugins/", Accept="application/json").json["entries"]
    assert [one["name"] for one in entries] == ["local", "other", "plugin-1.0.zip"]
    assert site.get("/plugins").status == 301
    assert {one["name"] for one in site.get("/", Accept="application/json").json["entries"]} >= {
        "plugins",
        "apt",
        "git",
    }
    lines = site.get("/plugins/SHA256SUMS").body.decode().splitlines()
    assert lines == [
        f"{hashlib.sha256(data).hexdigest()}  {name}"
        for name, data in (("local", b"local"), ("other", b"other"), ("plugin-1.0.zip", PLUGIN))
    ]
    assert site.get("/plugins/other").body == b"other"
    assert site.get("/plugins/local").body == b"local"


def test_a_tree(site: Client) -> None:
    assert site.get("/apt/dists/stable/Release").body == b"Suite: stable\n"
    assert site.get("/deb.example.org/debian/pool/a.deb").body == b"deb"
    assert site.get("/apt/.treeinfo").status == 200
    assert site.get("/apt/dists/").status == 200
    assert site.get("/apt/../plugins/other").status in (200, 404)


def test_charts(site: Client) -> None:
    answer = site.get("/charts/index.yaml")
    index = json.loads(answer.body)
    assert list(index["entries"]) == ["a"]
    newest, oldest = sorted(index["entries"]["a"], key=lambda one: one["version"], reverse=True)
    assert (newest["version"], oldest["version"], oldest["appVersion"]) == ("2.0.0", "1.0.0+x", "1.10")
    assert oldest["dependencies"][0]["name"] == "b"
    archive = site.get(f"/charts/{oldest['urls'][0]}").body
    assert hashlib.sha256(archive).hexdigest() == oldest["digest"]
    assert site.get("/charts/a-1.0.0%2Bx.tgz.prov").body == b"signed"
    assert site.get("/vendor/a-1.0.0+x.tgz").body == archive
    assert site.get("/charts/").status == 200


HOSTILE = {
    "empty": b"",
    "no archive": b"no archive",
    "no tar": gzip.compress(b"x" * 3000),
    "slash": packaged("a/b", "1"),
    "nameless": packaged("", ""),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_charts(tmp_path: Path, data: bytes) -> None:
    with Store.create(tmp_path / "s") as store:
        entry = make_file(store, "https://example.org/c", data, serve="c")
        with store.blobs.reader(entry.contents[0].digest) as reader, pytest.raises(UsageError):
            chart_yaml(reader, "c")


@pytest.mark.parametrize(
    "path", ["git/org/repo.git", "git/org/repo", "github.com/org/repo", "github.com/org/repo.git"]
)
@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_git(thread: ServerThread, tmp_path: Path, path: str, version: str) -> None:
    url = f"http://{thread.files_address}/{path}"
    git("-c", f"protocol.version={version}", "clone", "-q", url, str(tmp_path / "clone"))
    assert git("rev-list", "--count", "HEAD", cwd=tmp_path / "clone") == "3"
    assert git("describe", cwd=tmp_path / "clone") == "v1"


def test_git_shallow_and_push(thread: ServerThread, tmp_path: Path, site: Client) -> None:
    url = f"http://{thread.files_address}/git/org/repo.git"
    clone = tmp_path / "clone"
    git("clone", "-q", "--depth", "1", url, str(clone))
    assert git("rev-list", "--count", "HEAD", cwd=clone) == "1"
    git("fetch", "-q", "--unshallow", cwd=clone)
    assert git("rev-list", "--count", "HEAD", cwd=clone) == "3"
    git("clone", "-q", "--filter=blob:none", "--no-checkout", url, str(tmp_path / "partial"))
    assert site.get("/git/org/repo.git/info/refs?service=git-receive-pack").status == 403
    assert site.request("POST", "/git/org/repo.git/git-receive-pack", body=b"x").status == 403
    kind = {"Content-Type": "application/x-git-upload-pack-request"}
    assert site.request("POST", "/git/org/repo.git/git-upload-pack", kind, b"zzzz").status == 400
    assert site.request("POST", "/git/org/repo.git/git-upload-pack", {}, b"0000").status == 415


def test_git_without_git_at_the_site(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.serve.git_http.shutil.which", lambda _name: None)
    thread = ServerThread(store, MirrorMap(), Listen(files=("127.0.0.1", 0)))
    try:
        git("clone", "-q", f"http://{thread.files_address}/github.com/org/repo", str(tmp_path / "clone"))
    finally:
        thread.stop()
    assert git("rev-list", "--count", "HEAD", cwd=tmp_path / "clone") == "3"


def test_users_audit_metrics_and_misses(store: Path, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(USERS + USERS.replace("user:", "team:").strip() + ":r=localhost/team/*\n")
    listen = Listen(auth=tmp_path / "users", audit=tmp_path / "audit", files=("127.0.0.1", 0))
    thread = ServerThread(store, MirrorMap(), listen)
    site, registry = Client(thread.files_address), Client(thread.address)
    try:
        basic = {name: f"Basic {b64encode(f'{name}:secret'.encode()).decode()}" for name in ("user", "team")}
        refused = site.get("/plugins/other")
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="isthmus"')
        assert site.get("/plugins/other", Authorization=basic["team"]).status == 403
        assert site.get("/plugins/other", Authorization=basic["user"]).status == 200
        for _ in range(2):
            assert site.get("/dl.k8s.io/v1/kubectl", Authorization=basic["user"]).status == 404
        site.get("/favicon.ico", Authorization=basic["user"])
        missing = registry.get("/missing", Authorization=basic["user"]).json["missing"]
        assert [(one["name"], one["kind"], one["count"]) for one in missing] == [
            ("https://dl.k8s.io/v1/kubectl", "files", 2)
        ]
        with Store.open(store) as opened:
            make_file(opened, "https://dl.k8s.io/v1/kubectl", b"kubectl", serve="dl.k8s.io/v1/kubectl")
        assert registry.get("/missing", Authorization=basic["user"]).json["missing"] == []
        assert 'kind="files",status="404"' in registry.get("/metrics").body.decode()
        lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
        assert any(one["kind"] == "files" and one.get("digest") and one["user"] == "user" for one in lines)
    finally:
        site.close()
        registry.close()
        thread.stop()
