"""Several processes that serve one address: what they must have in common, and how they end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.oci import Digest
from tests.serve.conftest import Answer, Client, fill

USERS = "user:$2y$04$jza5UQLflduAl4ZGYDs88.WRLsdMuYx6WVdPF5aLxqZ80.UfswQDO\n"


@dataclass
class Running:
    process: subprocess.Popen[str]
    address: str

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(text) for text in path.read_text().split()]


@contextlib.contextmanager
def serve(store: Path, *options: str) -> Iterator[Running]:
    command = [
        sys.executable,
        "-m",
        "isthmus",
        "serve",
        "--store",
        str(store),
        "--listen",
        "127.0.0.1:0",
        *options,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while not (found := re.search(r"at https?://([0-9.:]+); Ctrl-C", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield Running(process, found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    fill(tmp_path / "store")
    with serve(tmp_path / "store", "--writable", "--workers", "3", "--no-console") as found:
        yield found


def ask(
    running: Running, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request on a connection of its own, which the kernel gives to any worker."""
    client = Client(running.address)
    try:
        return client.request(method, path, headers, body)
    finally:
        client.close()


def test_a_push_over_many_workers(running: Running) -> None:
    """Each request on a connection of its own, so that another worker answers it."""
    data = os.urandom(100_000)
    digest = Digest.of(data)
    config = b"{}"
    for blob in (data, config):
        begun = ask(running, "POST", "/v2/team/app/blobs/uploads/")
        place = begun.headers["Location"]
        half = len(blob) // 2
        assert ask(running, "PATCH", place, body=blob[:half]).status == 202
        assert ask(running, "PATCH", place, body=blob[half:]).status == 202
        done = ask(running, "PUT", f"{place}?digest={Digest.of(blob)}", body=b"")
        assert done.status == 201
        for _ in range(8):
            assert ask(running, "HEAD", f"/v2/team/app/blobs/{Digest.of(blob)}").status == 200
    manifest = (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        f'"application/vnd.oci.image.config.v1+json","digest":"{Digest.of(config)}","size":2}},"layers":[{{"mediaType":'
        f'"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{len(data)}}}]}}'
    ).encode()
    kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    for tag in ("1", "2"):
        assert ask(running, "PUT", f"/v2/team/app/manifests/{tag}", kind, manifest).status == 201
        for _ in range(8):
            assert ask(running, "GET", f"/v2/team/app/manifests/{tag}").body == manifest
    assert ask(running, "DELETE", "/v2/team/app/manifests/2").status == 202
    for _ in range(8):
        assert ask(running, "GET", "/v2/team/app/tags/list").json["tags"] == ["1"]


def test_counters_and_misses_are_of_all(running: Running) -> None:
    for _ in range(12):
        assert ask(running, "GET", "/v2/nothing/here/manifests/1").status == 404
    time.sleep(2.2)
    for _ in range(6):
        text = ask(running, "GET", "/metrics").body.decode()
        assert 'isthmus_requests_total{method="GET",kind="manifests",status="404"} 12' in text
        assert "isthmus_misses_total 12" in text
        missing = ask(running, "GET", "/missing").json["missing"]
        assert [one["count"] for one in missing] == [12]


def test_a_dead_worker_is_replaced_and_orphans_end(running: Running) -> None:
    before = running.children()
    assert len(before) == 3
    os.kill(before[1], signal.SIGKILL)
    until = time.monotonic() + 20
    while len(now := running.children()) < 3 or before[1] in now:
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(1)
    for _ in range(9):
        assert ask(running, "GET", "/v2/").status == 200
    running.process.kill()
    running.process.wait(10)
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in now):
        assert time.monotonic() < until
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_tokens_hold_everywhere(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    (tmp_path / "users").write_text(USERS)
    with serve(tmp_path / "store", "--workers", "3", "--auth", str(tmp_path / "users")) as running:
        basic = {"Authorization": "Basic dXNlcjpzZWNyZXQ="}
        scope = "repository:mirror/registry.k8s.io/pause:pull"
        token = ask(running, "GET", f"/token?scope={scope}", basic).json["token"]
        for _ in range(9):
            answer = ask(
                running, "GET", "/v2/mirror/registry.k8s.io/pause/tags/list", {"Authorization": f"Bearer {token}"}
            )
            assert answer.status == 200


def test_an_error_at_the_start_is_the_parents(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    with serve(tmp_path / "store", "--workers", "2", "--writable") as running:
        serving = [sys.executable, "-m", "isthmus", "serve", "--workers=2", "--store"]
        again = subprocess.run(
            [*serving, str(tmp_path / "store"), "--writable"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (again.returncode, "another server takes pushes" in again.stderr) == (2, True)
        missing = subprocess.run(
            [*serving, str(tmp_path / "none")], check=False, capture_output=True, text=True, timeout=60
        )
        assert (missing.returncode, "Traceback" in missing.stderr) == (2, False)
        assert running.process.poll() is None
