"""Clients of others against `serve`: podman, crane, oras and helm, as far as they are there or can be built."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.content import make_chart
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.store import Store
from tests.real import go_tools, programs
from tests.real.programs import output
from tests.serve.conftest import fill
from tests.serve.test_artifacts import packaged

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Site:
    """A server that takes pushes."""

    registry: str
    files: str
    home: Path

    def run(self, *command: str | Path) -> str:
        """Run a client with a home of its own."""
        home = str(self.home)
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG")
        environment = {**os.environ, **dict.fromkeys(names, home), "http_proxy": "", "https_proxy": ""}
        words = [str(word) for word in command]
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, env=environment, cwd=self.home, timeout=120
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    fill(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        for version in ("1.0.0", "1.1.0"):
            chart = packaged("hello", version)
            make_chart(
                store, f"https://charts.example.org#hello?version={version}", chart, chart="hello", version=version
            )
    thread = ServerThread(tmp_path / "store", MirrorMap(), Listen(writable=True, files=("127.0.0.1", 0)))
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "config.json").write_text("{}")  # where podman looks for it, and insists
    yield Site(thread.address, thread.files_address, tmp_path / "home")
    thread.stop()


@pytest.fixture
def short() -> Iterator[Path]:
    """podman takes no longer path for its run directory."""
    place = programs.short_directory()
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_podman_pushes_and_pulls(site: Site, tmp_path: Path, short: Path) -> None:
    programs.require("podman")
    programs.require_root("podman with storage of its own")
    podman = ["podman", "--root", str(tmp_path / "p"), "--runroot", str(short), "--storage-driver", "vfs",
              "--cgroup-manager", "cgroupfs", "--events-backend", "none"]  # fmt: skip
    (tmp_path / "file").write_text("content\n" * 1000)
    output("tar", "-cf", tmp_path / "root.tar", "-C", tmp_path, "file")
    site.run(*podman, "import", "-q", tmp_path / "root.tar", f"{site.registry}/team/made:1")
    for form in ("oci", "v2s2"):
        site.run(*podman, "push", "-q", "--tls-verify=false", "--format", form, f"{site.registry}/team/made:1")
        site.run(*podman, "rmi", "-f", f"{site.registry}/team/made:1")
        site.run(*podman, "pull", "-q", "--tls-verify=false", f"{site.registry}/team/made:1")
    listed = json.loads(site.run(*podman, "images", "--format", "json"))
    assert any(f"{site.registry}/team/made:1" in (one.get("Names") or ()) for one in listed)


def test_crane(site: Site) -> None:
    crane = go_tools.CRANE.binary()
    source = f"{site.registry}/mirror/registry.k8s.io/pause:3.9"
    site.run(crane, "copy", "--insecure", source, f"{site.registry}/team/copy:1")
    assert site.run(crane, "digest", "--insecure", source) == site.run(
        crane, "digest", "--insecure", f"{site.registry}/team/copy:1"
    )
    assert "team/copy" in site.run(crane, "catalog", "--insecure", site.registry).split()


def test_oras(site: Site) -> None:
    oras = go_tools.ORAS.binary()
    (site.home / "file").write_text("an artifact")
    site.run(oras, "push", "--plain-http", f"{site.registry}/team/thing:1", "file:text/plain")
    site.run(oras, "pull", "--plain-http", "-o", "out", f"{site.registry}/team/thing:1")
    assert (site.home / "out" / "file").read_text() == "an artifact"
    tree = site.run(oras, "discover", "--plain-http", f"{site.registry}/mirror/registry.k8s.io/pause:3.10")
    assert "spdx" in tree


def test_helm(site: Site) -> None:
    helm = go_tools.HELM.binary()
    site.run(helm, "repo", "add", "site", f"http://{site.files}/charts")
    found = json.loads(site.run(helm, "search", "repo", "site/hello", "--versions", "-o", "json"))
    assert [one["version"] for one in found] == ["1.1.0", "1.0.0"]
    site.run(helm, "pull", "site/hello", "--version", "1.0.0")
    assert (site.home / "hello-1.0.0.tgz").read_bytes() == packaged("hello", "1.0.0")
    name = f"oci://{site.registry}/mirror/isthmus.internal/charts/hello"
    site.run(helm, "pull", name, "--version", "1.1.0", "--plain-http")
    site.run(helm, "push", "hello-1.1.0.tgz", f"oci://{site.registry}/team", "--plain-http")
    site.run(helm, "show", "chart", f"oci://{site.registry}/team/hello", "--version", "1.1.0", "--plain-http")
