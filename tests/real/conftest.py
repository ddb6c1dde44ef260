"""Fixtures for tests with real counterparts; each skips with the reason where its program is missing.

docker_registry, skopeo, real_images, upstream, network_namespace, containerd_in_namespace. What they are
is in the modules beside this file.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.images import BuiltImage, load
from bench.images.build import ensure
from bench.images.debian import CannotBuildHereError
from tests.real import containerd, docker_registry, netns, programs
from tests.real.containerd import Containerd
from tests.real.docker_registry import DockerRegistry
from tests.real.netns import ClosedNetwork
from tests.real.skopeo import Skopeo

StartRegistry = Callable[..., DockerRegistry]


@dataclass(frozen=True)
class Upstream:
    """A registry that stands for the Internet: HOST/PATH is at its repository HOST/PATH."""

    registry: DockerRegistry
    images: list[BuiltImage]

    @property
    def mapping(self) -> dict[str, str]:
        """Original host → where it is served instead."""
        hosts = sorted({image.name.partition("/")[0] for image in self.images})
        return {host: f"{self.registry.url}/{host}" for host in hosts}

    @property
    def options(self) -> list[str]:
        """The same as options of the command line: --upstream HOST=URL."""
        return [word for host, url in self.mapping.items() for word in ("--upstream", f"{host}={url}")]

    def generation(self, generation: str) -> list[BuiltImage]:
        """Return the images of v1 or v2."""
        return [image for image in self.images if image.generation == generation]


@pytest.fixture(name="docker_registry")
def docker_registry_factory(tmp_path: Path) -> Iterator[StartRegistry]:
    """A function that starts a registry: host, users, tls, delete, wrapper as in docker_registry.start."""
    yield from _registries(tmp_path)


@pytest.fixture(scope="session")
def docker_registry_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRegistry]:
    """As docker_registry, for registries that live as long as the run."""
    yield from _registries(tmp_path_factory.mktemp("docker-registry"))


def _registries(directory: Path) -> Iterator[StartRegistry]:
    programs.require("docker-registry")
    started: list[DockerRegistry] = []

    def start(**options: object) -> DockerRegistry:
        if options.get("users"):
            programs.require("htpasswd")
        place = directory / f"docker-registry-{len(started)}"
        started.append(docker_registry.start(place, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for registry in started:
        print(registry.log())  # pytest shows it when the test failed
        registry.stop()


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory: pytest.TempPathFactory) -> Skopeo:
    """Another implementation that copies and inspects images."""
    programs.require("skopeo")
    return Skopeo(tmp_path_factory.mktemp("skopeo-home"))


@pytest.fixture(scope="session")
def real_images() -> list[BuiltImage]:
    """The images of bench/images: the full set where ISTHMUS_BENCH_IMAGES has one, else the small one."""
    full = load("full") if os.environ.get("ISTHMUS_BENCH_IMAGES") else None
    if full is not None:
        return full
    try:
        return ensure("small", print)
    except CannotBuildHereError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def upstream(docker_registry_session: StartRegistry, skopeo: Skopeo, real_images: list[BuiltImage]) -> Upstream:
    """A docker-registry filled with all real images under their original names."""
    registry = docker_registry_session()
    for image in real_images:
        skopeo.copy(f"oci:{image.layout}:{image.ref}", f"docker://{registry.address}/{image.name}:{image.tag}")
    return Upstream(registry, real_images)


@pytest.fixture
def network_namespace() -> Iterator[ClosedNetwork]:
    """A site and a node that reaches nothing else."""
    programs.require("ip", "nsenter", "unshare")
    programs.require_root("a network namespace")
    with netns.closed_network() as network:
        yield network


@pytest.fixture
def containerd_in_namespace(network_namespace: ClosedNetwork) -> Iterator[Containerd]:
    """Debian's containerd on the node of network_namespace."""
    programs.require("containerd", "ctr", "runc")
    with containerd.running(network_namespace.node) as running:
        yield running
