"""The copy engine into Distribution 3, built from its Go module once a machine, and pulled back by others.

Skipped where Go is missing or its module cannot be had. Debian's Distribution 2.8 is in `test_transfer`.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.registry import ConnectionOptions, connect
from tests.real import docker_registry, programs
from tests.real.conftest import Upstream
from tests.real.containerd import Containerd
from tests.real.docker_registry import DockerRegistry
from tests.real.netns import ClosedNetwork
from tests.real.skopeo import Skopeo
from tests.real.test_transfer import ISTHMUS, isthmus
from tests.transfer.images import API, SHARED, WEB, fill

MODULE, VERSION = "github.com/distribution/distribution/v3/cmd/registry", "v3.0.0"
BUILD_SECONDS = 240

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def program() -> tuple[str, ...]:
    """The command of a registry of version 3; traces of its own are off."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "isthmus-tests" / f"registry-{VERSION}"
    binary = place / "bin" / "registry"
    if not binary.exists():
        programs.require("go")
        environment = os.environ | {
            "GOPATH": str(place / "go"), "GOBIN": str(binary.parent), "GOFLAGS": "-modcacherw -buildvcs=false",
            "GOTOOLCHAIN": "local", "CGO_ENABLED": "0",
        }  # fmt: skip
        command = ["go", "install", f"{MODULE}@{VERSION}"]
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"Distribution 3 was not built within {BUILD_SECONDS} seconds")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"Distribution 3 cannot be built: {error.stderr.strip().splitlines()[-1]}")
    return ("env", "OTEL_TRACES_EXPORTER=none", str(binary))


@pytest.fixture
def third(tmp_path: Path, program: tuple[str, ...]) -> Iterator[DockerRegistry]:
    registry = docker_registry.start(tmp_path / "third", program=program)
    yield registry
    registry.stop()


def test_pushed_mirrored_and_pulled_back_digest_for_digest(
    tmp_path: Path, third: DockerRegistry, program: tuple[str, ...], skopeo: Skopeo
) -> None:
    manifests = fill(tmp_path / "store")
    pushed = isthmus("push", "--store", "store", "--to", third.address, cwd=tmp_path)
    assert pushed["blobs"] > 0
    for name in (WEB, API, SHARED):
        assert skopeo.digest(f"docker://{third.address}/mirror/{name}") == manifests[name].digest
    again = isthmus("push", "--store", "store", "--to", third.address, cwd=tmp_path)
    assert (again["blobs"], again["bytes"]) == (0, 0)
    assert again["requests"] <= 4

    entries = tuple(LockEntry("image", name, manifests[name].digest) for name in (WEB, API, SHARED))
    write_lock(tmp_path / "isthmus.lock", Lock(references=entries))
    hosts = sorted({name.partition("/")[0] for name in (WEB, API, SHARED)})
    upstreams = [word for host in hosts for word in ("--upstream", f"{host}={third.url}/mirror/{host}")]
    other = docker_registry.start(tmp_path / "other", program=program)
    try:
        copied = isthmus("mirror", "--to", other.address, *upstreams, cwd=tmp_path)
        assert copied["references"] == 3
        skopeo.copy(f"docker://{other.address}/mirror/{API}", f"oci:{tmp_path / 'back'}:api")
        with connect(other.address, ConnectionOptions()) as registry:
            for name in (WEB, API, SHARED):
                repository, _, tag = f"mirror/{name}".rpartition(":")
                assert registry.manifest(repository, tag).raw == manifests[name].raw
    finally:
        other.stop()
    assert (tmp_path / "back/blobs/sha256" / manifests[API].digest.hex).exists()


@pytest.mark.root
def test_containerd_pulls_back_what_was_pushed_digest_for_digest(
    tmp_path: Path,
    program: tuple[str, ...],
    upstream: Upstream,
    network_namespace: ClosedNetwork,
    containerd_in_namespace: Containerd,
) -> None:
    images = upstream.generation("v1")
    (tmp_path / "list.txt").write_text("\n".join(image.reference for image in images))
    isthmus("lock", "images:list.txt", *upstream.options, cwd=tmp_path)
    isthmus("pull", "--store", "store", *upstream.options, cwd=tmp_path)
    site = network_namespace.site
    third = docker_registry.start(tmp_path / "third", program=program, host=site.address, wrapper=site.enter)
    try:
        push = ("push", "--store", tmp_path / "store", "--to", third.address, "--plain-http")
        site.output(*ISTHMUS, *push, "--workspace", tmp_path / "workspace")
        for image in images:
            host = image.name.partition("/")[0]
            place = tmp_path / "hosts" / host
            place.mkdir(parents=True, exist_ok=True)
            url = f"{third.url}/v2/mirror/{host}"
            access = f'[host."{url}"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n'
            (place / "hosts.toml").write_text(access)
            assert containerd_in_namespace.pull(image.reference, tmp_path / "hosts") == image.digest
        busybox = next(image for image in images if image.name == "docker.io/library/busybox")
        said = containerd_in_namespace.run(busybox.reference, ["/bin/sh", "-c", "echo version 3"])
        assert said == "version 3\n"
    finally:
        third.stop()
