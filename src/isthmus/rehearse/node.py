"""The node: a containerd of its own in the node's namespace, which pulls and runs as those of the clusters do.

By crictl and the CRI plugin where crictl is installed (as the kubelet pulls), by ctr otherwise; both read the
generated hosts.toml. Everything is below one directory. Not here: what is pulled.
"""

import contextlib
import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.rehearse.network import Namespace
from isthmus.rehearse.programs import Program, output
from isthmus.rehearse.traces import end_containers, run_name

_MEMORY = 1 << 30
_NAMESPACE = "k8s.io"  # where the CRI plugin keeps its images, so that ctr sees the same
# What a rehearsal does not need and a machine may not have.
_DISABLED = (
    "internal.v1.tracing",
    "snapshotter.v1.aufs",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs",
)
_numbers = itertools.count(1)


class Node:
    """A running containerd."""

    def __init__(self, directory: Path, namespace: Namespace, certs: Path) -> None:
        self.namespace = namespace
        self._directory = directory
        self._certs = certs
        self._socket = directory / "c.sock"
        self._crictl = shutil.which("crictl")

    @property
    def client(self) -> str:
        """Which program asks containerd to pull."""
        return "crictl" if self._crictl else "ctr"

    def pull(self, reference: str, *, timeout: float) -> None:
        """Pull by the name as the platform writes it, and unpack; raises UnreachableError with the reason."""
        if self._crictl:
            self._crictl_pull(reference, timeout)
            return
        self._ctr("images", "pull", "--hosts-dir", self._certs, reference, timeout=timeout)

    def digest(self, reference: str) -> str:
        """The digest under which containerd knows the image; nothing where it does not."""
        lines = self._ctr("images", "list", f"name=={reference}").splitlines()[1:]
        return next((word for line in lines for word in line.split() if word.startswith("sha256:")), "")

    def try_entry_point(self, reference: str, program: Namespace, resolver: Path, seconds: float) -> str:
        """Run the image's entry point for a moment in a network of its own; returns why it did not start."""
        name = f"{run_name()}-{next(_numbers)}"
        mount = f"type=bind,src={resolver},dst=/etc/resolv.conf,options=rbind:ro"
        words: list[str | Path] = ["run", "--detach", "--null-io", "--mount", mount]
        words += [
            "--with-ns",
            f"network:{program.path}",
            "--memory-limit",
            str(_MEMORY),
            "--cgroup",
            f"/{run_name()}/{name}",
        ]
        try:
            self._ctr(*words, reference, name, timeout=60)
        except IsthmusError as error:
            self._remove(name)
            return error.message.strip().splitlines()[-1][:300] if error.message.strip() else "it does not start"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._is_running(name):
            time.sleep(0.1)
        self._remove(name)
        return ""

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
        assert self._crictl is not None
        words = [self._crictl, "--timeout", f"{timeout:.0f}s", "--image-endpoint", f"unix://{self._socket}"]
        output(*self.namespace.enter, *words, "pull", reference, timeout=timeout + 10)

    def _ctr(self, *words: str | Path, timeout: float = 60) -> str:
        return self.namespace.output("ctr", "-a", self._socket, "-n", _NAMESPACE, *words, timeout=timeout)


@contextlib.contextmanager
def running_node(directory: Path, namespace: Namespace, certs: Path) -> Iterator[Node]:
    """Start containerd; at the end nothing of it is left. Raises UnreachableError `program-failed`."""
    config = directory / "config.toml"
    config.write_text(_config(directory, certs), encoding="utf-8")
    program = Program(["containerd", "--config", config], directory / "containerd.log", namespace.enter)
    node = Node(directory, namespace, certs)
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


def _config(directory: Path, certs: Path) -> str:
    disabled = ", ".join(f'"io.containerd.{name}"' for name in _DISABLED)
    return f"""version = 2
root = "{directory}/root"
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
