"""Fixtures of the registry room: the fault server, certificates, and Debian's registry where it is installed."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.real import docker_registry, programs
from tests.real.docker_registry import DockerRegistry
from tests.registry.faults import FaultServer

StartRegistry = Callable[..., DockerRegistry]


@pytest.fixture
def faults() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def other_faults() -> Iterator[FaultServer]:
    """Another host, as far as secrets are concerned: another port."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def certificate_files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A server's certificate chain and key for 127.0.0.1 and localhost."""
    directory = tmp_path_factory.mktemp("certificate")
    issued = authority.issue_cert("127.0.0.1", "localhost", "::1")
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return chain, key


@pytest.fixture
def server_tls(certificate_files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate_files)
    return context


@pytest.fixture
def tls_faults(server_tls: ssl.SSLContext) -> Iterator[FaultServer]:
    with FaultServer(tls=server_tls) as server:
        yield server


@pytest.fixture(scope="session")
def start_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRegistry]:
    """Start Debian's registry with the options of tests.real.docker_registry; it lives as long as the run."""
    programs.require("docker-registry")
    directory = tmp_path_factory.mktemp("docker-registry")
    started: list[DockerRegistry] = []

    def start(**given: object) -> DockerRegistry:
        if given.get("users"):
            programs.require("htpasswd")
        started.append(docker_registry.start(directory / str(len(started)), **given))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for registry in started:
        registry.stop()


@pytest.fixture(scope="session")
def debian_registry(start_registry: StartRegistry) -> DockerRegistry:
    return start_registry()
