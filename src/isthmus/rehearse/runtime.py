"""What every runtime of a node can do in a rehearsal, and the limits of an entry point. Not here: any runtime."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Protocol

from isthmus.rehearse.network import Namespace

MEMORY = 1 << 30
PROCESSES = 256
"""So many, with all their threads, an entry point may have."""

FREE = 256 << 20
"""So much of the disk stays free: an entry point that writes more is ended."""

_CGROUPS = Path("/sys/fs/cgroup")


class Runtime(Protocol):
    """A running runtime with a client."""

    @property
    def client(self) -> str:
        """Which program asks it to pull, and by what configuration."""
        ...

    def pull(self, reference: str, *, timeout: float) -> None:
        """Pull by the name as the platform writes it, and unpack; raises UnreachableError with the reason."""
        ...

    def digest(self, reference: str) -> str:
        """The digest under which it knows the image; nothing where it does not say."""
        ...

    def try_entry_point(self, reference: str, program: Namespace, resolver: Path, seconds: float) -> str:
        """Run the image's entry point for a moment in a network of its own; returns why it did not start."""
        ...

    def discard(self, reference: str) -> None:
        """Remove the image and what of it no other needs; nothing is raised."""
        ...


def cpus(jobs: int) -> str:
    """How many processors each of so many entry points at once may have, such that some are left for us."""
    return f"{max(0.1, (os.cpu_count() or 1) / (jobs + 1)):.2f}"


def limit_processes(run: str, name: str) -> None:
    """Make the cgroup of an entry point beforehand, with a limit, where this machine can limit processes.

    ctr has no option for it. Controllers that are not switched on for the children of the root stay as they are.
    """
    for parent in (_CGROUPS / "pids", _CGROUPS):
        if not (parent / "cgroup.procs").exists():
            continue
        place = parent / run
        with contextlib.suppress(OSError):
            place.mkdir(exist_ok=True)
            if (place / "cgroup.subtree_control").exists():
                (place / "cgroup.subtree_control").write_text("+pids")
            if (place / "pids.max").exists():
                (place / name).mkdir(exist_ok=True)
                (place / name / "pids.max").write_text(str(PROCESSES))
        return


def disk_is_full(place: Path) -> bool:
    """Whether less than `FREE` is left where the runtime writes."""
    try:
        return shutil.disk_usage(place).free < FREE
    except OSError:
        return False


def last_line(message: str) -> str:
    """The last line that says something: runtimes repeat the whole way to it before."""
    lines = [line for line in message.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else ""
