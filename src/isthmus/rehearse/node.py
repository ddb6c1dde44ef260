"""The node: a containerd of its own in the node's namespace, which pulls and runs as those of the clusters do.

By crictl and the CRI plugin where crictl is installed (as the kubelet pulls), by ctr otherwise; both read the
generated hosts.toml. Everything is below two directories: a short one for sockets, one for content. Not here: what
is pulled.
"""

import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.oci import Reference
from isthmus.rehearse import rootless
from isthmus.rehearse.network import Namespace
from isthmus.rehearse.programs import Program, output
from isthmus.rehearse.runtime import FREE, MEMORY, cpus, disk_is_full, last_line, limit_processes
from isthmus.rehearse.traces import end_containers, run_name

_NAMESPACE = "k8s.io"  # where the CRI plugin keeps its images, so that ctr sees the same
# What a rehearsal does not need and a machine may not have.
_DISABLED = (
    "internal.v1.tracing",
    "snapshotter.v1.aufs",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs",
)
_HAS_SECCOMP = Path("/proc/sys/kernel/seccomp").exists()
_numbers = itertools.count(1)


class Node:
    """A running containerd."""

    def __init__(self, directory: Path, content: Path, namespace: Namespace, certs: Path, jobs: int) -> None:
        self.namespace = namespace
        self._directory = directory
        self._content = content
        self._cpus = cpus(jobs)
        self._certs = certs
        self._socket = directory / "c.sock"
        self._unpacks = rootless.has_many_ids()
        self._crictl = shutil.which("crictl") if self._unpacks else None

    @property
    def client(self) -> str:
        """What a note says."""
        client = "crictl and the CRI plugin" if self._crictl else "ctr"
        only = "" if self._unpacks else ", not unpacked: that needs root, or further ids of the user (/etc/subuid)"
        return f"{client} through the generated hosts.toml{only}"

    def pull(self, reference: str, *, timeout: float) -> None:
        """As the protocol says."""
        if self._crictl:
            self._crictl_pull(reference, timeout)
            return
        pull = ("images", "pull") if self._unpacks else ("content", "fetch")
        self._ctr(*pull, "--hosts-dir", self._certs, reference, timeout=timeout)

    def digest(self, reference: str) -> str:
        """As the protocol says."""
        lines = self._ctr("images", "list", f"name=={self._stored(reference)}").splitlines()[1:]
        return next((word for line in lines for word in line.split() if word.startswith("sha256:")), "")

    def try_entry_point(self, reference: str, program: Namespace, resolver: Path, seconds: float) -> str:
        """As the protocol says."""
        if not self._unpacks:
            return "without root and without further ids (/etc/subuid, newuidmap) nothing is unpacked"
        if disk_is_full(self._content):
            return f"less than {FREE >> 20} MiB are free where images are unpacked"
        name = f"{run_name()}-{next(_numbers)}"
        mount = f"type=bind,src={resolver},dst=/etc/resolv.conf,options=rbind:ro"
        words: list[str | Path] = ["run", "--detach", "--null-io", "--mount", mount]
        words += [
            "--with-ns",
            f"network:{program.path}",
        ]
        if not rootless.is_inside():  # cgroups are root's
            limit_processes(run_name(), name)
            words += ["--memory-limit", str(MEMORY), "--cpus", self._cpus, "--cgroup", f"/{run_name()}/{name}"]
        if _HAS_SECCOMP:
            words.append("--seccomp")
        try:
            self._ctr(*words, self._stored(reference), name, timeout=60)
        except IsthmusError as error:
            self._remove(name)
            return last_line(error.message)[:300] or "it does not start"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._is_running(name) and not disk_is_full(self._content):
            time.sleep(0.1)
        self._remove(name)
        return ""

    def discard(self, reference: str) -> None:
        """As the protocol says."""
        with contextlib.suppress(IsthmusError):
            if self._crictl:
                output(*self.namespace.enter, *self._cri_words(60), "rmi", reference)
            else:
                self._ctr("images", "remove", "--sync", reference)

    def _stored(self, reference: str) -> str:
        """The CRI plugin drops the tag of a name that has a digest as well; ctr keeps both."""
        parsed = Reference.parse(reference)
        return f"{parsed.repository}@{parsed.digest}" if self._crictl and parsed.digest else reference

    def _is_running(self, name: str) -> bool:
        with contextlib.suppress(IsthmusError):
            return any(
                line.split()[0] == name and "RUNNING" in line
                for line in self._ctr("tasks", "list").splitlines()[1:]
            )
        return False

    def _remove(self, name: str) -> None:
        with contextlib.suppress(IsthmusError):
            self._ctr("tasks", "kill", "--signal", "KILL", name)
        deadline = time.monotonic() + 5
        while self._is_running(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        for words in (("tasks", "delete", "--force", name), ("containers", "delete", name)):
            with contextlib.suppress(IsthmusError):
                self._ctr(*words)

    def _crictl_pull(self, reference: str, timeout: float) -> None:
        output(*self.namespace.enter, *self._cri_words(timeout), "pull", reference, timeout=timeout + 10)

    def _cri_words(self, timeout: float) -> list[str]:
        assert self._crictl is not None
        endpoint = f"unix://{self._socket}"
        # Without a file of its own it would take /etc/crictl.yaml, which is another containerd's.
        config = self._directory / "crictl.yaml"
        if not config.exists():
            config.write_text(f"image-endpoint: {endpoint}\nruntime-endpoint: {endpoint}\n", encoding="utf-8")
        words = [self._crictl, "--config", str(config), "--timeout", f"{timeout:.0f}s"]
        return [*words, "--image-endpoint", endpoint, "--runtime-endpoint", endpoint]

    def _ctr(self, *words: str | Path, timeout: float = 60) -> str:
        return self.namespace.output("ctr", "-a", self._socket, "-n", _NAMESPACE, *words, timeout=timeout)


@contextlib.contextmanager
def running_node(
    directory: Path, content: Path, namespace: Namespace, certs: Path, jobs: int = 4
) -> Iterator[Node]:
    """Start containerd; at the end nothing of it is left. Raises UnreachableError `program-failed`."""
    config = directory / "config.toml"
    config.write_text(_config(directory, content, certs), encoding="utf-8")
    program = Program(["containerd", "--config", config], directory / "containerd.log", namespace.enter)
    node = Node(directory, content, namespace, certs, jobs)
    try:
        program.wait_until(lambda: _answers(directory, namespace))
        yield node
    finally:
        program.stop()
        end_containers(run_name())


def _answers(directory: Path, namespace: Namespace) -> bool | None:
    socket = directory / "c.sock"
    if not socket.exists():
        return None
    with contextlib.suppress(UnreachableError, subprocess.SubprocessError):
        namespace.output("ctr", "-a", socket, "version", timeout=5)
        return True
    return None


def _config(directory: Path, content: Path, certs: Path) -> str:
    disabled = ", ".join(f'"io.containerd.{name}"' for name in _DISABLED)
    return f"""version = 2
root = {json.dumps(str(content / "root"))}
state = "{directory}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{directory}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
"""
