"""Debian's docker-registry as the upstream of benchmarks, filled with the benchmark images.

It is the one of the tests (`tests.real`), with a count of what it is asked and what it gives. Not here: the
images themselves (`bench.images`).
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.images import BuiltImage
from bench.images.build import ensure
from bench.images.debian import BuildError, CannotBuildHereError
from bench.images.table import Mode
from bench.measure import MeasureError
from tests.real import docker_registry
from tests.real.docker_registry import DockerRegistry, Tls
from tests.real.skopeo import Skopeo

_ACCESS = re.compile(rb'^\S+ - \S+ \[[^]]*\] "[A-Z]+ [^"]*" \d+ (\d+)', re.MULTILINE)
_SETTLE = 0.1  # seconds until the log has the last line


@dataclass(frozen=True)
class Served:
    """What a registry did up to some moment: requests, bytes of answers, and seconds of its CPU."""

    requests: int
    bytes: int
    cpu: float

    def since(self, before: "Served") -> Mapping[str, float]:
        """The difference, as facts of a run."""
        return {
            "requests": self.requests - before.requests,
            "bytes_read": self.bytes - before.bytes,
            "registry_cpu": self.cpu - before.cpu,
        }


class Upstream:
    """A running registry that has HOST/PATH at its repository HOST/PATH."""

    def __init__(self, registry: DockerRegistry) -> None:
        self.registry = registry
        self.address = registry.address
        self._log = registry.storage.parent / "docker-registry.log"
        self._read = 0
        self._requests = 0
        self._bytes = 0

    def substitutes(self, hosts: Sequence[str]) -> list[str]:
        """The options that make Isthmus ask here for what the hosts have."""
        return [word for host in hosts for word in ("--upstream", f"{host}={self.registry.url}/{host}")]

    def served(self) -> Served:
        """Count what its log has."""
        time.sleep(_SETTLE)
        with self._log.open("rb") as stream:
            stream.seek(self._read)
            text = stream.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        for match in _ACCESS.finditer(text):
            self._requests += 1
            self._bytes += int(match[1])
        return Served(self._requests, self._bytes, self._cpu())

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self.registry.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    directory: Path, tls: Tls | None = None, program: tuple[str, ...] = ("docker-registry",)
) -> Iterator[Upstream]:
    """An empty registry on a free loopback port. Raises MeasureError where the program is missing."""
    if shutil.which(program[-1]) is None:
        raise MeasureError(f"{program[-1]} is not installed: run tests/real/install-debian-packages")
    registry = docker_registry.start(directory, tls=tls, program=program)
    try:
        yield Upstream(registry)
    finally:
        registry.stop()


def images(mode: Mode) -> list[BuiltImage]:
    """The benchmark images, built where they are not there yet; raises MeasureError where that can't be."""
    try:
        return ensure(mode, print)
    except (BuildError, CannotBuildHereError) as error:
        raise MeasureError(f"the images cannot be built here: {error}") from error


def fill(upstream: Upstream, built: Sequence[BuiltImage], home: Path) -> None:
    """Copy images into the registry under their original names, all platforms, byte for byte."""
    if shutil.which("skopeo") is None:
        raise MeasureError("skopeo is not installed: run tests/real/install-debian-packages")
    home.mkdir(exist_ok=True)
    skopeo = Skopeo(home)
    for image in built:
        skopeo.copy(f"oci:{image.layout}:{image.ref}", f"docker://{upstream.address}/{image.name}:{image.tag}")
