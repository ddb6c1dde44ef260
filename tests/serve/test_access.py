"""Users, tokens, rights, the audit log, the counters; and clients that log in."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest
from isthmus.registry import ConnectionOptions, connect
from isthmus.registry.options import Credential
from isthmus.serve import Listen, ServerThread, bcrypt
from isthmus.serve.tokens import Grant, Tokens, parse_scopes
from isthmus.serve.users import Users, parse_users
from isthmus.store import Store
from tests.serve.conftest import Client, Content, fill

# "secret", "Pässword" and "x", at the lowest cost
SECRET = "$2y$04$abcdefghijklmnopqrstuu"


def hashed(password: str, salt: str = SECRET) -> str:
    import ctypes

    bcrypt.require()
    found = bcrypt._crypt()(password.encode(), salt.encode(), ctypes.create_string_buffer(256 * 1024))
    assert isinstance(found, bytes)
    return found.decode()


USERS = f"""# users of the site
admin:{hashed("secret")}
ci:{hashed("Pässword")}:r=*,rw=localhost/team/*
reader:{hashed("x")}:r=quay.io/*
"""


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ADMIN, CI, READER = basic("admin", "secret"), basic("ci", "Pässword"), basic("reader", "x")


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    (tmp_path / "users").write_text(USERS)
    return tmp_path / "users"


@pytest.fixture
def closed(tmp_path: Path, auth: Path) -> Iterator[Client]:
    content = fill(tmp_path / "store")
    thread = ServerThread(content.path, MirrorMap(), Listen(writable=True, auth=auth, audit=tmp_path / "audit"))
    client = Client(thread.address)
    yield client
    client.close()
    thread.stop()


@pytest.fixture
def half_open(tmp_path: Path, auth: Path) -> Iterator[Client]:
    content = fill(tmp_path / "store")
    thread = ServerThread(content.path, MirrorMap(), Listen(writable=True, auth=auth, anonymous_pull=True))
    client = Client(thread.address)
    yield client
    client.close()
    thread.stop()


def token(client: Client, scope: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    answer = client.request("GET", f"/token?service=isthmus&scope={quote(scope)}", headers)
    assert answer.status == 200, answer.body
    assert answer.json["expires_in"] > 60
    return {"Authorization": f"Bearer {answer.json['token']}"}


PAUSE = "/v2/mirror/registry.k8s.io/pause/manifests/3.10"
QUAY = "/v2/mirror/quay.io/a/b/tags/list"


def test_nobody_gets_nothing(closed: Client) -> None:
    for path in ("/v2/", "/v2/_catalog", PAUSE, "/missing", "/v2/unknown/manifests/1"):
        answer = closed.get(path)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), path
        assert answer.headers["WWW-Authenticate"].startswith(f'Bearer realm="http://{closed.address}/token"')
    assert closed.get("/token?scope=repository:a:pull").headers["WWW-Authenticate"] == 'Basic realm="isthmus"'
    assert closed.get("/healthz").status == closed.get("/readyz").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("admin", "wrong"),
        basic("nobody", "secret"),
        basic("admin", ""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer a.b"},
        {"Authorization": "Bearer é"},
        {"Authorization": "Digest x"},
        basic("admin", "secret\0"),
        basic("admin", "s" * 9000),
    ],
)
def test_wrong_credentials(closed: Client, headers: dict[str, str]) -> None:
    encoded = {key: value.encode().decode("latin-1") for key, value in headers.items()}
    assert closed.request("GET", "/v2/", encoded).status == 401
    assert closed.request("GET", PAUSE, encoded).status == 401


def test_basic_and_rights(closed: Client) -> None:
    assert closed.request("GET", "/v2/", ADMIN).status == 200
    for who, path, status in (
        (ADMIN, PAUSE, 200), (CI, PAUSE, 200), (READER, PAUSE, 403), (READER, QUAY, 200),
        (READER, "/v2/a/b/tags/list?ns=quay.io", 200), (READER, "/v2/library/nginx/tags/list?ns=docker.io", 403),
    ):  # fmt: skip
        assert closed.request("GET", path, who).status == status, (who, path)
    for who, name, status in (
        (ADMIN, "mirror/quay.io/new/app", 202), (ADMIN, "team/app", 202), (CI, "team/app", 202),
        (CI, "mirror/quay.io/a/b", 403), (CI, "team", 403), (READER, "mirror/quay.io/a/b", 403),
    ):  # fmt: skip
        assert closed.request("POST", f"/v2/{name}/blobs/uploads/", who).status == status, (who, name)
    assert closed.request("DELETE", PAUSE, CI).status == 403
    assert closed.request("GET", "/v2/_catalog", READER).json == {"repositories": ["mirror/quay.io/a/b"]}


def test_tokens(closed: Client) -> None:
    challenge = closed.get(PAUSE).headers["WWW-Authenticate"]
    assert 'scope="repository:mirror/registry.k8s.io/pause:pull"' in challenge
    bearer = token(closed, "repository:mirror/registry.k8s.io/pause:pull", CI)
    assert closed.request("GET", PAUSE, bearer).status == 200
    assert closed.request("GET", "/v2/", bearer).status == 200
    answer = closed.request("GET", QUAY, bearer)  # not what it was issued for
    assert (answer.status, 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]) == (401, True)
    answer = closed.request("DELETE", PAUSE, bearer)
    assert answer.status == 403
    wide = token(closed, "repository:mirror/registry.k8s.io/pause:pull,push,delete", CI)
    assert closed.request("DELETE", PAUSE, wide).status == 403  # a scope is not a right
    forged = {"Authorization": bearer["Authorization"][:-3] + "AAA"}
    assert closed.request("GET", PAUSE, forged).status == 401


def test_tokens_by_post(closed: Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = (
        b"grant_type=password&service=isthmus&client_id=c&username=admin&password=secret&scope=repository:a:pull"
    )
    answer = closed.request("POST", "/token", form, body)
    assert answer.status == 200
    bearer = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert closed.request("GET", "/v2/a/tags/list", bearer).status == 404
    assert closed.request("POST", "/token", form, body.replace(b"=secret", b"=wrong")).status == 401
    assert closed.request("POST", "/token", form, b"grant_type=refresh_token&refresh_token=x").status == 400
    assert closed.request("POST", "/token", form, b"x" * 1_000_000).status == 413


def test_anonymous_pull(half_open: Client) -> None:
    assert half_open.get(PAUSE).status == 200
    assert half_open.get("/v2/").status == 401  # so that clients which can log in do
    bearer = token(half_open, "repository:mirror/registry.k8s.io/pause:pull,push")
    assert half_open.request("GET", "/v2/", bearer).status == 200
    assert half_open.request("GET", PAUSE, bearer).status == 200
    assert half_open.request("DELETE", PAUSE, bearer).status == 401
    assert half_open.request("POST", "/v2/team/app/blobs/uploads/").status == 401
    assert half_open.request("POST", "/v2/team/app/blobs/uploads/", CI).status == 202


def test_no_mount_of_what_one_may_not_read(closed: Client) -> None:
    blob = b"of somebody else"
    digest = Digest.of(blob)
    path = "/v2/private/app/blobs/uploads/"
    assert closed.request("POST", f"{path}?digest={digest}", ADMIN, blob).status == 201
    closed.request("GET", "/v2/", CI)
    for more in ("", "&from=private/app"):
        assert closed.request("POST", f"/v2/team/app/blobs/uploads/?mount={digest}{more}", CI).status == 201
    reader = {"Authorization": token(closed, "repository:team/app:push", READER)["Authorization"]}
    assert closed.request("POST", f"/v2/team/app/blobs/uploads/?mount={digest}", reader).status == 403


def test_users_are_read_again(tmp_path: Path, auth: Path) -> None:
    users = Users(auth)
    assert users.check("admin", "secret") is not None
    auth.write_text(f"other:{hashed('secret')}\n")
    users.reload()
    assert (users.check("admin", "secret"), users.find("admin")) == (None, None)
    assert users.check("other", "secret") is not None
    auth.write_text("nonsense\n")
    with pytest.raises(UsageError):
        users.reload()
    assert users.find("other") is not None


@pytest.mark.parametrize(
    "line",
    ["admin", "admin:secret", "admin:{SHA}x", "a b:" + hashed("x"), f"a:{hashed('x')}\na:{hashed('x')}",
     f"a:{hashed('x')}:x=*", f"a:{hashed('x')}:r=*;rm", "a:" + hashed("x").replace("$04$", "$31$")],
)  # fmt: skip
def test_files_of_users_that_are_refused(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_users(line, "users")
    assert caught.value.code == "invalid-config"
    assert "$2y$" not in str(caught.value)


def test_right_without_patterns_is_no_right() -> None:
    user = parse_users(f"a:{hashed('x')}:")["a"]
    assert not user.may("pull", "docker.io/library/nginx")


def test_scopes() -> None:
    assert parse_scopes(["repository:a/b:pull,push repository:a/b:delete registry:catalog:*", "x"]) == (
        Grant("a/b", frozenset({"pull", "push", "delete"})),
    )
    assert parse_scopes(["repository:localhost:5000/a:*"])[0].name == "localhost:5000/a"


def test_a_token_of_another_process_is_none() -> None:
    assert Tokens().read(Tokens().issue("admin", ())) is None


def test_audit(closed: Client, tmp_path: Path) -> None:
    digest = Digest.of(b"layer")
    closed.request("POST", f"/v2/team/app/blobs/uploads/?digest={digest}", CI, b"layer")
    closed.request("DELETE", PAUSE, CI)
    closed.get(PAUSE)
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [(one.get("user"), one["action"], one["result"], one["status"]) for one in lines] == [
        ("ci", "push", "done", 201),
        ("ci", "delete", "DENIED", 403),
        (None, "pull", "UNAUTHORIZED", 401),
    ]
    assert lines[0]["digest"] == digest
    assert lines[0]["name"] == "team/app"
    assert "ssword" not in (tmp_path / "audit").read_text()


def test_audit_has_the_name_that_a_wrong_password_was_given_for(auth: Path, tmp_path: Path) -> None:
    content = fill(tmp_path / "store")
    listen = Listen(auth=auth, audit=tmp_path / "audit", files=("127.0.0.1", 0))
    thread = ServerThread(content.path, MirrorMap(), listen)
    registry, files = Client(thread.address), Client(thread.files_address)
    hostile = 'x\r\n{"user","admin"}\x1b[2J\u202e\u2028\x85\\' + "y" * 5000
    form = b"grant_type=password&username=robot&password=Pa55word"
    try:
        for path in ("/v2/", PAUSE, "/missing", "/token"):
            assert registry.request("GET", path, basic("admin", "Pa55word")).status == 401
        assert registry.request("GET", PAUSE, basic("nobody", "Pa55word")).status == 401
        assert registry.request("GET", PAUSE, basic(hostile, "Pa55word")).status == 401
        no_colon = base64.b64encode(b"My-Pa55word").decode()
        assert registry.request("GET", PAUSE, {"Authorization": f"Basic {no_colon}"}).status == 401
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert registry.request("POST", "/token", headers, form).status == 401
        assert files.request("GET", "/debian/Release", basic("ci", "Pa55word")).status == 401
        assert files.request("GET", "/debian/Release", CI).status == 404
        registry.request("GET", "/missing", ADMIN)
    finally:
        registry.close()
        files.close()
        thread.stop()
    data = (tmp_path / "audit").read_bytes()
    assert b"Pa55word" not in data
    assert all(31 < byte < 127 for byte in data.replace(b"\n", b"").replace("…".encode(), b""))
    lines = [json.loads(line) for line in data.splitlines()]
    assert [(one.get("claimed"), one.get("user"), one["action"], one["status"]) for one in lines] == [
        ("admin", None, "pull", 401),
        ("admin", None, "pull", 401),
        ("admin", None, "login", 401),
        ("admin", None, "login", 401),
        ("nobody", None, "pull", 401),
        (lines[5]["claimed"], None, "pull", 401),
        (None, None, "pull", 401),
        ("robot", None, "login", 401),
        ("ci", None, "pull", 401),
        (None, "ci", "pull", 404),
    ]
    assert lines[5]["claimed"].startswith('x\\r\\n{"user","admin"}\\x1b[2J\\u202e\\u2028\\x85\\\\yyy')
    assert len(lines[5]["claimed"]) < 200
    assert {one["result"] for one in lines[:-1]} == {"UNAUTHORIZED"}


def test_metrics(closed: Client) -> None:
    closed.request("GET", PAUSE, ADMIN)
    closed.request("GET", "/v2/mirror/quay.io/gone/app/manifests/1", ADMIN)
    answer = closed.get("/metrics")
    text = answer.body.decode()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'isthmus_requests_total{method="GET",kind="manifests",status="200"} 1' in text
    assert "isthmus_misses_total 1" in text
    assert "isthmus_repositories 4" in text
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or float(line.rpartition(" ")[2]) >= 0


class _Login:
    def find(self, host: str, repository: str) -> Credential | None:
        return Credential(username="ci", password="Pässword")


def test_our_own_client(closed: Client, content: Content, tmp_path: Path) -> None:
    options = ConnectionOptions(credentials=_Login())
    with connect(closed.address, options) as registry, Store.open(content.path) as store:
        for blob in content.pause.blobs:
            with registry.write_blob("team/app", blob) as writer, store.open_blob("x", blob) as reader:
                data = bytearray(blob.size)
                assert reader.readinto(memoryview(data)) == blob.size
                writer.write(memoryview(data)[writer.offset :])
                writer.commit()
        registry.put_manifest("team/app", content.pause, "v1")
        assert registry.manifest("team/app", "v1").raw == content.pause.raw
        assert registry.tags("team/app") == ("v1",) or list(registry.tags("team/app")) == ["v1"]
        blob = Descriptor("x/y", content.pause.layers[0].digest, content.pause.layers[0].size)
        assert registry.has_blob("team/app", blob)


@pytest.mark.real
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="Debian package skopeo is missing")
def test_skopeo_pushes_and_pulls(closed: Client, tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }

    def skopeo(*arguments: str, check: bool = True) -> Any:
        command = ["skopeo", "--insecure-policy", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done

    name, pushed = (
        f"docker://{closed.address}/mirror/docker.io/library/nginx:latest",
        f"{closed.address}/team/nginx:1",
    )
    login = "ci:Pässword"
    assert skopeo("inspect", "--tls-verify=false", name, check=False).returncode != 0
    tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    copy = ("copy", "--all", "--preserve-digests", *tls)
    skopeo(*copy, "--src-creds", login, name, f"oci:{tmp_path}/layout:nginx")
    skopeo(*copy, "--dest-creds", login, f"oci:{tmp_path}/layout:nginx", f"docker://{pushed}")
    raw = skopeo("inspect", "--raw", "--creds", login, "--tls-verify=false", f"docker://{pushed}").stdout
    assert raw == skopeo("inspect", "--raw", "--creds", login, "--tls-verify=false", name).stdout
    refused = skopeo(*copy, "--dest-creds", login, f"oci:{tmp_path}/layout:nginx", name, check=False)
    assert refused.returncode != 0
    assert skopeo("delete", "--creds", login, "--tls-verify=false", f"docker://{pushed}").returncode == 0
