"""Everything that a rehearsal makes on the machine has its process in its name, so that what one left behind that
was killed can be told from what is in use.

Not here: making any of it.
"""

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

from isthmus.errors import UnreachableError, UsageError
from isthmus.rehearse import rootless
from isthmus.rehearse.programs import output

_PREFIX = "isthmus-rehearsal"
_NAME = re.compile(rf"{_PREFIX}-(\d+)(-.*)?", re.ASCII)
_LONGEST = 12
_CGROUPS = Path("/sys/fs/cgroup")
_NAMESPACES = Path("/run/netns")


def run_name() -> str:
    """What everything of this process begins with."""
    return f"{_PREFIX}-{os.environ.get(rootless.RUN) or os.getpid()}"


def own_directory() -> Path:
    """A new directory for what is small; its path is short enough for the sockets in it (108 bytes)."""
    where = tempfile.gettempdir()
    return _new_directory(Path(where if len(os.fsencode(where)) <= _LONGEST else "/tmp"))  # noqa: S108


def scratch_directory(parent: Path) -> Path:
    """A new directory for images; raises UsageError `wrong-usage` where there can be none."""
    return _new_directory(parent.absolute())


def _new_directory(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f"{run_name()}-", dir=parent))
    except OSError as error:
        raise UsageError(
            "wrong-usage", f"nothing can be written there: {error.strerror}", where=str(parent)
        ) from error


def clean(scratch: Path | None = None) -> tuple[str, ...]:
    """Remove what rehearsals left whose processes are gone; returns the names of what was removed.

    `scratch` is where theirs was, if it was not the usual place.
    """
    removed: list[str] = []
    if rootless.is_inside():
        return ()  # the processes outside cannot be seen from here; it was done before
    if os.geteuid() == 0:
        removed += _clean_the_machine()
    usual = {Path(tempfile.gettempdir()), Path("/tmp")}  # noqa: S108
    for place in usual | ({scratch.absolute()} if scratch else set()):
        for name in _left(_mine(place)):
            remove_directory(place / name)
            removed.append(name)
    return tuple(sorted(removed))


def _clean_the_machine() -> list[str]:
    namespaces = _left(_names(_NAMESPACES))
    for name in namespaces:
        remove_namespace(name)
    groups = _left({path.name for path in (*_CGROUPS.glob("*"), *_CGROUPS.glob("*/*"))})
    for name in groups:
        end_containers(name)
    return [*namespaces, *groups]


def remove_namespace(name: str) -> None:
    """Kill what is in a network namespace that a rehearsal made, and delete it."""
    if not (_NAMESPACES / name).exists():
        return
    try:
        for pid in output("ip", "netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        output("ip", "netns", "delete", name)
    except UnreachableError:
        if (_NAMESPACES / name).exists():  # another rehearsal may clean at the same time
            raise


def remove_directory(directory: Path) -> None:
    """Kill the shims whose socket is in it, which outlive containerd by design, and delete it."""
    mark = str(directory).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if (
                any(mark in word for word in path.read_bytes().split(b"\0"))
                and int(path.parent.name) != os.getpid()
            ):
                os.kill(int(path.parent.name), signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists() and os.geteuid() != 0:
        rootless.remove(directory)


def end_containers(run: str) -> None:
    """Kill what still runs in the containers of a run, found by its cgroups, and remove those."""
    # The second level is that of the controllers where the machine still has cgroups of version 1.
    groups = [path for pattern in (f"{run}/*/", f"*/{run}/*/") for path in _CGROUPS.glob(pattern)]
    deadline = time.monotonic() + 5
    while groups and time.monotonic() < deadline:
        for group in groups:
            with contextlib.suppress(OSError, ValueError):
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        groups = [group for group in groups if group.exists()]
        time.sleep(0.01)
    for parent in (*_CGROUPS.glob(run), *_CGROUPS.glob(f"*/{run}")):
        with contextlib.suppress(OSError):
            parent.rmdir()


def _left(names: set[str]) -> list[str]:
    found = [(name, _NAME.fullmatch(name)) for name in sorted(names)]
    return [name for name, match in found if match and not Path(f"/proc/{match[1]}").exists()]


def _mine(directory: Path) -> set[str]:
    found = set()
    for name in _names(directory):
        with contextlib.suppress(OSError):
            if (directory / name).lstat().st_uid == os.geteuid():
                found.add(name)
    return found


def _names(directory: Path) -> set[str]:
    return set(os.listdir(directory)) if directory.exists() else set()
