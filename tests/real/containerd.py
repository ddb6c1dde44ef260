"""Debian's containerd on the node of a closed network: what pulls in the real clusters.

ctr of containerd 1.6 fetches in its own process, so it runs on the node as well. Everything is below one
short directory; the mounts are in a mount namespace that ends with the last process.
"""

import contextlib
import itertools
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.real.netns import Namespace
from tests.real.programs import RUN, Program, ProgramFailed, former_runs, short_directory

# What this machine may not have, and the tests do not use.
_DISABLED = ("grpc.v1.cri", "internal.v1.tracing", "snapshotter.v1.aufs", "snapshotter.v1.btrfs",
             "snapshotter.v1.devmapper", "snapshotter.v1.zfs")  # fmt: skip
_CGROUPS = Path("/sys/fs/cgroup")
_numbers = itertools.count(1)


class Containerd:
    """One running containerd with its ctr."""

    def __init__(self, directory: Path, node: Namespace, program: Program) -> None:
        self.node = node
        self.socket = directory / "c.sock"
        self._directory = directory
        self._program = program

    def ctr(self, *arguments: str | Path, timeout: float = 120) -> str:
        """Run ctr on the node and return its output."""
        return self.node.output("ctr", "-a", self.socket, "-n", RUN, *arguments, timeout=timeout)

    def pull(self, reference: str, hosts: Path | None = None, *, timeout: float = 120) -> str:
        """Pull by the name as a platform writes it, with a hosts.toml directory; return the digest."""
        where: list[str | Path] = ["--hosts-dir", hosts] if hosts else []
        self.ctr("images", "pull", *where, reference, timeout=timeout)
        return self.image_digest(reference)

    def image_digest(self, reference: str) -> str:
        """Return the digest under which containerd knows the image."""
        lines = self.ctr("images", "list", f"name=={reference}").splitlines()[1:]
        if not lines:
            raise KeyError(reference)
        return next(word for word in lines[0].split() if word.startswith("sha256:"))

    def remove(self, reference: str) -> None:
        """Forget the image and collect what it alone had, so that the next pull fetches again."""
        self.ctr("images", "remove", "--sync", reference)

    def run(self, reference: str, arguments: list[str], *, timeout: float = 60) -> str:
        """Run a command in a container of a pulled image; return its output."""
        name = f"c{next(_numbers)}"
        fifos: list[str | Path] = ["--fifo-dir", self._directory / "fifo"]
        return self.ctr("run", "--rm", *fifos, reference, name, *arguments, timeout=timeout)

    def log(self) -> str:
        """Return the end of containerd's log."""
        return self._program.tail()


@contextlib.contextmanager
def running(node: Namespace) -> Iterator[Containerd]:
    """Start containerd on the node; at the end nothing of it is left."""
    for run in former_runs([path.name for path in (*_CGROUPS.glob("*"), *_CGROUPS.glob("*/*"))]):
        _end_containers(run)
    directory = short_directory()
    (directory / "config.toml").write_text(_config(directory))
    (directory / "fifo").mkdir()
    command = ["containerd", "--config", str(directory / "config.toml")]
    program = Program(command, directory / "containerd.log", node.enter)
    try:
        containerd = Containerd(directory, node, program)
        program.wait_until(lambda: _answers(containerd))
        yield containerd
        print(program.tail())  # pytest shows it when the test failed
    finally:
        program.stop()
        _end_shims(directory)
        _end_containers(RUN)
        shutil.rmtree(directory)


def _config(directory: Path) -> str:
    disabled = ", ".join(f'"io.containerd.{name}"' for name in _DISABLED)
    return f"""version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = [{disabled}]
[grpc]
address = "{directory}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"
"""


def _answers(containerd: Containerd) -> bool | None:
    try:
        return bool(containerd.socket.exists() and containerd.ctr("version")) or None
    except ProgramFailed:
        return None


def _end_shims(directory: Path) -> None:
    """Kill shims that outlived containerd (they are made to): those whose command line has our socket."""
    ours = f"{directory}/c.sock".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if ours in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _end_containers(run: str) -> None:
    """Kill what still runs in the containers of a run, found by its cgroups, and remove those."""
    # The second level is that of the controllers where the machine still has cgroups of version 1.
    groups = [path for pattern in (f"{run}/*/", f"*/{run}/*/") for path in _CGROUPS.glob(pattern)]
    deadline = time.monotonic() + 5
    while groups and time.monotonic() < deadline:
        for group in groups:
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        groups = [group for group in groups if group.exists()]
        time.sleep(0.01)
    for parent in (*_CGROUPS.glob(run), *_CGROUPS.glob(f"*/{run}")):
        with contextlib.suppress(OSError):
            parent.rmdir()
