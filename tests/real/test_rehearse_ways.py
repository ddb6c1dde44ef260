"""Rehearsals in other ways: by crictl, by Podman, from a registry that is already running, without root."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from isthmus.content.artifact import make_file
from isthmus.demo.images import AMD64, name_it, put_artifact, put_index
from isthmus.demo.images import put_image as put
from isthmus.store import Store
from tests.real.docker_registry import DockerRegistry, Tls
from tests.real.go_tools import GoTool
from tests.real.programs import output, require, require_root
from tests.rehearse.closed_world import Platform, host_network, leftovers, rehearse

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow, pytest.mark.xdist_group("rehearsal")]

CRICTL = GoTool("sigs.k8s.io/cri-tools/cmd/crictl", "v1.34.0", "crictl")
CALLS = ["/bin/nc", "-w", "2", "203.0.113.7", "4444"]


@pytest.fixture(autouse=True)
def _programs() -> None:
    require_root("a rehearsal")
    require("containerd", "ctr", "runc", "ip", "nsenter", "setpriv", "busybox")


def crictl() -> Path:
    """From PATH, or built before by whoever had the source, or built from its module."""
    found = shutil.which("crictl")
    built = sorted(CRICTL.place.parent.glob("crictl-*/bin/crictl"))
    return Path(found) if found else built[0] if built else CRICTL.binary()


def test_crictl_pulls_as_the_kubelet_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{crictl().parent}:{os.environ['PATH']}")
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.image(store, "docker.io/library/calls:1", CALLS)
        other = put(store, "quay.io/a/by-digest", [platform.base], command=CALLS)
        name = f"quay.io/a/by-digest:1@{other.digest}"
        name_it(store, name, other)
        platform.lock(name, other)
        platform.image(store, "registry.k8s.io/absent:9", CALLS, named=False)
        # The site has another image under that name than the lock.
        platform.image(store, "quay.io/a/moved:1", CALLS, named=False)
        name_it(store, "quay.io/a/moved:1", put(store, "quay.io/a/moved", [platform.base], command=["/bin/true"]))
        # The site has the one image of an index, as `push --single-platform` leaves it.
        only = put(store, "quay.io/a/one", [platform.base], command=CALLS)
        index = put_index(store, "quay.io/a/one", [(only, AMD64)])
        name_it(store, "quay.io/a/one:1", only)
        platform.lock("quay.io/a/one:1", index, children=(only.digest,))
    platform.write()
    before = host_network()
    status, found = rehearse(tmp_path, "--run", "3s", "--discard")
    assert status == 3
    assert {item["name"]: "not found" in item["why"] for item in found["failed"]} == {
        "registry.k8s.io/absent:9": True,
        "quay.io/a/moved:1": False,
    }
    assert "instead of" in next(item["why"] for item in found["failed"] if item["name"] == "quay.io/a/moved:1")
    assert any("crictl and the CRI plugin" in note for note in found["notes"])
    assert (found["pulled"], found["started"]) == (3, 3), found
    assert {row["image"] for row in found["egress"]} == {"docker.io/library/calls:1", name, "quay.io/a/one:1"}
    assert host_network() == before
    assert leftovers() == []


def test_podman_stands_for_crio(tmp_path: Path) -> None:
    require("podman")
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.image(store, "docker.io/library/calls:1", CALLS)
        platform.image(store, "quay.io/calls/by-name:1", ["/bin/nslookup", "telemetry.example.com"])
        platform.image(store, "registry.k8s.io/absent:9", CALLS, named=False)
    platform.write()
    (tmp_path / "isthmus.yaml").write_text(
        "site: {registry: {host: registry.site.internal}, nodes: {runtime: crio}}\n"
    )
    before = host_network()
    status, found = rehearse(tmp_path, "--run", "4s", "--discard")
    assert status == 3
    assert [item["name"] for item in found["failed"]] == ["registry.k8s.io/absent:9"]
    assert (found["pulled"], found["started"]) == (2, 2), found
    rows = {(row["to"], row["port"], row["image"], row["process"]) for row in found["egress"]}
    assert rows == {
        ("203.0.113.7", 4444, "docker.io/library/calls:1", "nc"),
        ("telemetry.example.com", 53, "quay.io/calls/by-name:1", "nslookup"),
    }
    assert host_network() == before
    assert leftovers() == []


@pytest.mark.parametrize("runtime", ["containerd", "podman"])
def test_a_registry_that_is_already_running(
    tmp_path: Path, docker_registry: Callable[..., DockerRegistry], runtime: str
) -> None:
    """It has the site's name in its certificate, and is reached from here by loopback."""
    if runtime == "podman":
        require("podman")
    authority = trustme.CA()
    certificate = authority.issue_cert("registry.site.internal", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    registry = docker_registry(tls=Tls(tmp_path / "cert.pem", tmp_path / "key.pem"))
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.image(store, "docker.io/library/here:1", ["/bin/sleep", "1"])
        platform.image(store, "docker.io/library/not-here:1", ["/bin/sleep", "1"])
        rules = put_artifact(store, "ghcr.io/a/rules", "application/x", {"text/plain": b"rules"})
        name_it(store, "ghcr.io/a/rules:1", rules)
        platform.lock("ghcr.io/a/rules:1", rules, "artifact")
        platform.entries.append(make_file(store, "https://example.com/a.zip", b"plugin", serve="a/a.zip"))
    platform.write()
    push = [
        sys.executable,
        "-m",
        "isthmus",
        "push",
        "--store",
        "store",
        "--to",
        registry.address,
        "--ca",
        "ca.pem",
    ]
    done = subprocess.run(push, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What is not here was removed from it again.
    shutil.rmtree(next(registry.storage.rglob("library/not-here")))
    (tmp_path / "isthmus.yaml").write_text(
        "site: {registry: {host: registry.site.internal, ca: ca.pem}, files: {host: files.site.internal}}\n"
    )
    before = host_network()
    status, found = rehearse(tmp_path, "--registry", registry.url, "--run", "1s", "--runtime", runtime)
    assert [item["name"] for item in found["failed"]] == ["docker.io/library/not-here:1"], found
    assert (status, found["pulled"], found["fetched"], found["egress"]) == (3, 1, 2, [])
    assert host_network() == before
    assert leftovers() == []


def test_a_file_server_that_is_already_running(tmp_path: Path) -> None:
    (tmp_path / "files" / "a").mkdir(parents=True)
    (tmp_path / "files" / "a" / "a.zip").write_bytes(b"plugin")
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.entries.append(make_file(store, "https://example.com/a.zip", b"plugin", serve="a/a.zip"))
        platform.entries.append(make_file(store, "https://example.com/b.zip", b"other", serve="a/b.zip"))
    platform.write()
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", tmp_path / "files", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        (tmp_path / "isthmus.yaml").write_text(
            "site: {registry: {host: registry.site.internal}, files: {host: files.site.internal, port: 80}}\n"
        )
        status, found = rehearse(tmp_path, "--files", f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.communicate()
    assert (status, found["fetched"]) == (3, 1)
    assert [item["name"] for item in found["failed"]] == ["https://example.com/b.zip"]
    assert "404" in found["failed"][0]["why"]


@pytest.mark.parametrize("url", ["registry", "ftp://a", "https://a/b", "https://u:p@a", "https://a:99999"])
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    status, found = rehearse(tmp_path, "--registry", url)
    assert (status, found["error"]["code"]) == (2, "wrong-usage")


def test_names_are_refused_as_at_the_site(tmp_path: Path) -> None:
    """With --servfail the name is recorded, and nothing can follow it."""
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        asks = "nc -w 2 $(nslookup download.example.org | sed -n 's/^Address: *//p' | tail -n 1) 80"
        platform.image(store, "quay.io/calls/by-name:1", ["/bin/sh", "-c", asks])
    platform.write()
    _, found = rehearse(tmp_path, "--run", "3s", "--servfail")
    assert [(row["to"], row["proto"]) for row in found["egress"]] == [("download.example.org", "dns")]


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def _as_nobody(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """By Debian's own Python, since that of the tests may be where only root can read."""
    roots = [path for path in sys.path if path.endswith("site-packages")]
    source = str(Path(__file__).parents[2] / "src")
    environment = os.environ | {
        "PYTHONPATH": ":".join([source, *roots]), "HOME": str(directory), "TMPDIR": str(directory),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [
        *NOBODY,
        "/usr/bin/python3",
        "-P",
        "-m",
        "isthmus",
        "rehearse",
        "--store",
        "store",
        "--json",
        *words,
    ]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=170, env=environment, check=False
    )


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A short directory that belongs to nobody."""
    place = Path(f"/tmp/isn-{os.getpid()}")
    place.mkdir()
    usable = subprocess.run(
        [*NOBODY, "/usr/bin/python3", "-P", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False
    )
    if usable.returncode:
        place.rmdir()
        pytest.skip("another user has no Python 3.11 here")
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_without_root_content_is_fetched_and_checked(nobodys: Path) -> None:
    allowed = [*NOBODY, "unshare", "--user", "--map-root-user", "--net", "--mount", "true"]
    if subprocess.run(allowed, capture_output=True, check=False).returncode:
        pytest.skip("this kernel forbids user namespaces to users")
    platform = Platform(nobodys)
    with Store.create(nobodys / "store") as store:
        platform.image(store, "docker.io/library/here:1", ["/bin/sleep", "1"])
        platform.image(store, "registry.k8s.io/absent:9", ["/bin/sleep", "1"], named=False)
        platform.entries.append(make_file(store, "https://example.com/a.zip", b"plugin", serve="a/a.zip"))
    platform.write()
    output("chown", "-R", "65534:65534", nobodys)
    before = host_network()
    done = _as_nobody(nobodys, "--run", "1s")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert "error" not in found, found
    assert [item["name"] for item in found["failed"]] == ["registry.k8s.io/absent:9"]
    assert (done.returncode, found["pulled"], found["fetched"], found["egress"]) == (3, 1, 1, [])
    assert any("not unpacked" in note for note in found["notes"]) or found["started"] == 1
    assert host_network() == before
    assert list(nobodys.glob("isthmus-rehearsal-*")) == []


def test_without_root_and_without_namespaces_it_says_so(nobodys: Path) -> None:
    """A user namespace in which there may be no further one stands for a kernel that forbids them."""
    Platform(nobodys).write()
    output("chown", "-R", "65534:65534", nobodys)
    source, roots = str(Path(__file__).parents[2] / "src"), [p for p in sys.path if p.endswith("site-packages")]
    # Two ids are mapped from outside; the second exec then gives root in there its rights.
    waits = 'read go; exec sh -ec \'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"\' sh "$@"'
    command = ["unshare", "--user", "sh", "-ec", waits, "sh"]
    command += [*NOBODY, "/usr/bin/python3", "-P", "-m", "isthmus", "rehearse", "--json"]
    environment = os.environ | {"PYTHONPATH": ":".join([source, *roots]), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, cwd=nobodys, text=True, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    ours = Path("/proc/self/ns/user").readlink()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process.pid}/ns/user").readlink() == ours and time.monotonic() < deadline:
        time.sleep(0.02)
    for kind in ("uid", "gid"):
        Path(f"/proc/{process.pid}/{kind}_map").write_text("0 0 1\n65534 65534 1\n")
    printed, complaint = process.communicate("go\n", timeout=60)
    assert printed, complaint
    found = json.loads(printed)
    assert (process.returncode, found["error"]["code"]) == (2, "wrong-usage")
    assert "user namespaces" in found["error"]["message"]
