"""Behind nginx and HAProxy, configured as docs/serving.md says: token flow, large pushes, pulls, ranges."""

import os
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, serving
from tests.real import programs
from tests.real.programs import Program
from tests.serve.conftest import Client

pytestmark = pytest.mark.real

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"
USERS = "user:$2y$04$jza5UQLflduAl4ZGYDs88.WRLsdMuYx6WVdPF5aLxqZ80.UfswQDO\n"
LARGE = os.urandom(6_000_000)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _listens(port: int) -> bool | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return None


def _shown(language: str) -> str:
    """The configuration as the document shows it."""
    found = re.search(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def nginx(place: Path, port: int, behind: str) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    location = _shown("nginx").replace("127.0.0.1:5000", behind)
    paths = "".join(
        f"{name}_temp_path {place}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"{user} daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log; events {{ }}\n"
        f"http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port};\n{location} }} }}\n"
    )
    return ["nginx", "-p", str(place), "-c", str(place / "nginx.conf")]


def haproxy(place: Path, port: int, behind: str) -> list[str]:
    text = _shown("haproxy").replace("127.0.0.1:5000", behind)
    text = text.replace("bind :443 ssl crt /etc/haproxy/site.pem", f"bind 127.0.0.1:{port}")
    text = text.replace("X-Forwarded-Proto https", "X-Forwarded-Proto http")
    (place / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(place / "haproxy.cfg")]


@pytest.fixture(params=[nginx, haproxy])
def front(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    programs.require(request.param.__name__)
    (tmp_path / "users").write_text(USERS)
    port = _free_port()
    with serving(tmp_path / "store", MirrorMap(), Listen(writable=True, auth=tmp_path / "users")) as behind:
        program = Program(request.param(tmp_path, port, behind), tmp_path / "front.log")
        try:
            program.wait_until(lambda: _listens(port))
            yield f"127.0.0.1:{port}"
        finally:
            program.stop()


def test_push_and_pull(front: str) -> None:
    client = Client(front)
    try:
        refused = client.request("POST", "/v2/team/app/blobs/uploads/")
        assert f'realm="http://{front}/token"' in refused.headers["WWW-Authenticate"]
        basic = {"Authorization": f"Basic {b64encode(b'user:secret').decode()}"}
        token = client.request("GET", "/token?scope=repository:team/app:pull,push", basic).json["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        digest = Digest.of(LARGE)
        place = client.request("POST", "/v2/team/app/blobs/uploads/", bearer).headers["Location"]
        assert client.request("PATCH", place, bearer, LARGE[:5_000_000]).status == 202
        assert client.request("PUT", f"{place}?digest={digest}", bearer, LARGE[5_000_000:]).status == 201
        path = f"/v2/team/app/blobs/{digest}"
        assert client.request("GET", path, bearer).body == LARGE
        part = client.request("GET", path, bearer | {"Range": "bytes=100-199"})
        assert (part.status, part.body) == (206, LARGE[100:200])
        assert client.request("HEAD", path, bearer).headers["Content-Length"] == str(len(LARGE))
        forwarded = client.request("GET", "/v2/", {"X-Forwarded-Proto": "gopher"})
        assert "gopher" not in forwarded.headers["WWW-Authenticate"]
    finally:
        client.close()
