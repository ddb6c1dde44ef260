"""The whole crossing with real counterparts on both sides, by the command line alone.

Outside: Debian's docker-registry holds about fifteen real images. Inside: a network namespace with no route
out, where `isthmus serve` and Debian's containerd meet through the generated hosts.toml.
"""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import StartRegistry, Upstream
from tests.real.containerd import Containerd
from tests.real.netns import ClosedNetwork, Namespace
from tests.real.programs import Program, ProgramFailed, output
from tests.real.skopeo import Skopeo

pytestmark = [pytest.mark.real, pytest.mark.slow]

ISTHMUS = [sys.executable, "-m", "isthmus"]
PORT = 5000


def isthmus(*words: str | Path, cwd: Path) -> dict[str, Any]:
    """Run a command with --json and return its document."""
    done = subprocess.run(
        [*ISTHMUS, *map(str, words), "--json"], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def outside(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything done outside: manifests scanned, locked, pulled and packed into small signed volumes."""
    place = tmp_path_factory.mktemp("outside")
    containers = [
        {"name": f"c{number}", "image": image.reference} for number, image in enumerate(upstream.generation("v1"))
    ]
    pods = {"containers": containers[:-2], "initContainers": containers[-2:]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "all", "namespace": "real"},
        "spec": {"template": {"spec": pods}},
    }
    (place / "platform.yaml").write_text(json.dumps(deployment))
    isthmus("keys", "new", "--out", "keys", cwd=place)
    locked = isthmus("lock", "manifests:platform.yaml", *upstream.options, cwd=place)
    assert locked["references"] == len(containers) >= 15
    pulled = isthmus("pull", *upstream.options, cwd=place)
    assert pulled["bytes"] > 50_000_000
    packed = isthmus(
        "pack", "--no-tool", "--out", "bundle", "--volume-size", "40MB", "--sign", "keys/isthmus.key", cwd=place
    )
    assert len(packed["volumes"]) > 2
    return place


@pytest.fixture(scope="module")
def inside(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's store, unpacked volume by volume, the last one first."""
    place = tmp_path_factory.mktemp("inside")
    volumes = sorted((outside / "bundle").glob("*.isv"), reverse=True)
    key = ("--key", outside / "keys" / "isthmus.pub")
    assert isthmus("verify", *volumes, *key, cwd=place)["complete"] is True
    for volume in volumes[:-1]:
        done = subprocess.run(
            [*ISTHMUS, "unpack", str(volume), "--store", "store", *map(str, key)], cwd=place, capture_output=True
        )
        assert done.returncode == 3, done.stderr
        assert not (place / "store").exists()
    assert isthmus("unpack", volumes[-1], "--store", "store", *key, cwd=place)["missing"] == []
    return place


@pytest.fixture
def served(inside: Path, network_namespace: ClosedNetwork) -> Iterator[str]:
    """`isthmus serve` on the site's side of the closed network."""
    site = network_namespace.site
    address = f"{site.address}:{PORT}"
    command = [*ISTHMUS, "serve", "--store", str(inside / "store"), "--listen", address]
    program = Program(command, inside / "serve.log", site.enter)
    try:
        program.wait_until(lambda: _answers(site, address))
        yield address
    finally:
        program.stop()


def _answers(site: Namespace, address: str) -> bool | None:
    try:
        site.output(sys.executable, "-c", f"import urllib.request as u; u.urlopen('http://{address}/healthz')")
    except ProgramFailed:
        return None
    return True


@pytest.mark.root
def test_containerd_pulls_everything_by_its_original_name(
    upstream: Upstream, outside: Path, inside: Path, served: str, containerd_in_namespace: Containerd
) -> None:
    lock = outside / "isthmus.lock"
    certs = inside / "site" / "containerd" / "certs.d"
    written = isthmus("configure", "--lock", lock, "--registry", f"http://{served}", "--out", "site", cwd=inside)
    assert written["decisions"] == []
    for image in upstream.generation("v1"):
        assert containerd_in_namespace.pull(image.reference, certs) == image.digest
    runnable = next(image for image in upstream.generation("v1") if image.static)
    said = containerd_in_namespace.run(runnable.reference, ["/bin/sh", "-c", "echo carried"])
    assert said.strip() == "carried"


def test_skopeo_reads_the_store(upstream: Upstream, inside: Path, skopeo: Skopeo) -> None:
    for image in upstream.generation("v1"):
        name = str(image.reference)
        assert skopeo.digest(f"oci:{inside / 'store'}:{name}") == image.digest


@pytest.mark.root
def test_check_finds_everything_and_what_was_left_behind(
    outside: Path, served: str, network_namespace: ClosedNetwork, tmp_path: Path
) -> None:
    lock = str(outside / "isthmus.lock")
    words = ["check", "--lock", lock, "--registry", served, "--plain-http", "--json"]
    document = json.loads(network_namespace.node.output(*ISTHMUS, *words))
    assert document["missing"] == document["stale"] == []
    assert document["present"] >= 15
    other = tmp_path / "next.lock"
    other.write_text(Path(lock).read_text().replace("busybox:1.35.0", "busybox:9.99.9"))
    with pytest.raises(ProgramFailed) as refused:
        network_namespace.node.output(*ISTHMUS, *(str(other) if word == lock else word for word in words))
    assert "docker.io/library/busybox:9.99.9" in str(refused.value)


def test_pushed_to_another_registry_and_read_back(
    upstream: Upstream, inside: Path, docker_registry: StartRegistry, skopeo: Skopeo
) -> None:
    registry = docker_registry()
    pushed = isthmus("push", "--store", "store", "--to", registry.address, cwd=inside)
    assert pushed["references"] >= 15
    for image in upstream.generation("v1"):
        name = f"{image.name}@{image.digest}" if image.by_digest else f"{image.name}:{image.tag}"
        assert skopeo.digest(f"docker://{registry.address}/mirror/{name}") == image.digest
    again = isthmus("push", "--store", "store", "--to", registry.address, cwd=inside)
    assert (again["blobs"], again["bytes"]) == (0, 0)


def test_the_store_has_nothing_that_a_layout_may_not_have(inside: Path) -> None:
    """Tar and untar as any tool would: the layout is complete in itself."""
    archive = inside / "layout.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(inside / "store" / name, name)
    output("tar", "-tf", archive)
    layout = json.loads((inside / "store" / "oci-layout").read_text())
    assert layout == {"imageLayoutVersion": "1.0.0"}
