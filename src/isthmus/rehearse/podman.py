"""A node with Podman, which reads the same registries.conf as CRI-O does, for sites whose nodes have CRI-O.

Everything is below one directory. Podman has no server: each command is a process of its own. Not here: what is
pulled.
"""

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.rehearse.network import Namespace
from isthmus.rehearse.runtime import FREE, MEMORY, PROCESSES, cpus, disk_is_full, last_line
from isthmus.rehearse.traces import end_containers, run_name

_numbers = itertools.count(1)


class PodmanNode:
    """Podman in the node's namespace, with a storage and a configuration of its own."""

    def __init__(
        self, directory: Path, content: Path, namespace: Namespace, config: Path, certs: Path | None, jobs: int
    ) -> None:
        self._namespace = namespace
        self._storage = content / "podman"
        self._certs = certs
        self._cpus = cpus(jobs)
        words: list[str | Path] = ["env", f"CONTAINERS_REGISTRIES_CONF={config}", f"TMPDIR={content}", "podman"]
        words += ["--root", self._storage, "--runroot", directory / "run", "--storage-driver", "overlay"]
        words += ["--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        words += ["--tmpdir", directory / "tmp"]
        runc = shutil.which("runc")
        self._words = [*words, "--runtime", runc] if runc else words

    @property
    def client(self) -> str:
        """What a note says."""
        return "podman through the generated registries.conf"

    def pull(self, reference: str, *, timeout: float) -> None:
        """As the protocol says."""
        trust: list[str | Path] = ["--cert-dir", self._certs] if self._certs is not None else []
        self._podman("pull", "--quiet", *trust, "--", reference, timeout=timeout)

    def digest(self, reference: str) -> str:
        """What was asked for is among these: of an index both its digest and the platform's are known."""
        found = json.loads(self._podman("image", "inspect", "--", reference))[0]
        digests = [str(item).rpartition("@")[2] for item in found.get("RepoDigests") or ()]
        return " ".join(digests)

    def try_entry_point(self, reference: str, program: Namespace, resolver: Path, seconds: float) -> str:
        """As the protocol says."""
        if disk_is_full(self._storage.parent):
            return f"less than {FREE >> 20} MiB are free where images are unpacked"
        name = f"{run_name()}-{next(_numbers)}"
        words: list[str | Path] = ["run", "--detach", "--name", name, "--network", f"ns:{program.path}"]
        words += ["--volume", f"{resolver}:/etc/resolv.conf:ro", "--cgroup-parent", f"/{run_name()}"]
        words += ["--memory", str(MEMORY), "--cpus", self._cpus, "--pids-limit", str(PROCESSES)]
        # Without the right to raise limits the default ones are refused.
        words += ["--ulimit", "nofile=1024:1024", "--ulimit", f"nproc={PROCESSES}:{PROCESSES}"]
        words += ["--security-opt", "no-new-privileges", "--log-driver", "none", "--pull", "never"]
        try:
            self._podman(*words, "--", reference, timeout=60)
            deadline = time.monotonic() + seconds
            while (
                time.monotonic() < deadline and self._is_running(name) and not disk_is_full(self._storage.parent)
            ):
                time.sleep(0.2)
        except IsthmusError as error:
            return last_line(error.message)[:300] or "it does not start"
        finally:
            with contextlib.suppress(IsthmusError):
                self._podman("rm", "--force", "--time", "0", "--volumes", name)
        return ""

    def discard(self, reference: str) -> None:
        """As the protocol says."""
        with contextlib.suppress(IsthmusError):
            self._podman("rmi", "--force", "--", reference)

    def _is_running(self, name: str) -> bool:
        with contextlib.suppress(IsthmusError):
            return self._podman("container", "inspect", "--format", "{{.State.Running}}", name).strip() == "true"
        return False

    def _podman(self, *words: str | Path, timeout: float = 60) -> str:
        return self._namespace.output(*self._words, *words, timeout=timeout)


@contextlib.contextmanager
def running_podman(
    directory: Path, content: Path, namespace: Namespace, config: Path, certs: Path | None, jobs: int
) -> Iterator[PodmanNode]:
    """A node with Podman; at the end nothing of it runs."""
    try:
        yield PodmanNode(directory, content, namespace, config, certs, jobs)
    finally:
        end_containers(run_name())
