"""A rehearsal without root: the same command again, in namespaces of a user who is root only in there.

The kernel has to allow user namespaces. Where the machine gives the user further ids (/etc/subuid and newuidmap)
images are unpacked as by root; with one id alone the files of others cannot be made, so that then images are only
fetched and checked. Not here: the rehearsal.
"""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from isthmus.errors import UsageError

RUN = "ISTHMUS_REHEARSAL_RUN"
"""Names the process outside, which inside has no number; set means that we are inside."""

_IDS = "ISTHMUS_REHEARSAL_IDS"
# What ip and containerd write to is the machine's; in here these are ours, and empty.
_PREPARE = 'mount -t tmpfs tmpfs /run; exec "$@"'


def is_inside() -> bool:
    """Whether this process was started by `again`."""
    return RUN in os.environ


def has_many_ids() -> bool:
    """Whether layers with files of several users can be unpacked: always as real root."""
    return not is_inside() or os.environ.get(_IDS) == "many"


def again(arguments: Sequence[str]) -> int:
    """Run this program with these arguments in namespaces of its own, and return its status.

    Raises UsageError `wrong-usage` where the kernel or the machine's settings forbid it, `missing-program`.
    """
    if shutil.which("unshare") is None:
        raise UsageError("missing-program", "a rehearsal without root needs unshare", hint="install util-linux")
    words, ids = _enter()
    environment = os.environ | {RUN: str(os.getpid()), _IDS: ids}
    command = [*words, "sh", "-ec", _PREPARE, "sh", sys.executable, "-P", "-m", "isthmus", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def remove(directory: Path) -> None:
    """Delete a directory in which there are files of our further ids."""
    words = ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(directory)]
    if _has_subordinate_ids():
        subprocess.run(words, capture_output=True, check=False)


def _enter() -> tuple[list[str], str]:
    words = ["unshare", "--user", "--map-root-user"]
    rest = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    many = [*words, "--map-auto", *rest]
    if _has_subordinate_ids() and _works(many) is None:
        return many, "many"
    few = [*words, *rest]
    complaint = _works(few)
    if complaint is not None:
        raise UsageError(
            "wrong-usage",
            f"a rehearsal needs root, or user namespaces, which this machine forbids: {complaint}",
            hint="run it as root; or see kernel.unprivileged_userns_clone, user.max_user_namespaces, and"
            " kernel.apparmor_restrict_unprivileged_userns",
        )
    return few, "one"


def _works(words: Sequence[str]) -> str | None:
    """None where it does; else what unshare or the mount says."""
    done = subprocess.run(
        [*words, "sh", "-ec", _PREPARE, "sh", "true"], capture_output=True, check=False, timeout=30
    )
    if done.returncode == 0:
        return None
    return done.stderr.decode(errors="replace").strip()[-300:] or f"unshare ended with {done.returncode}"


def _has_subordinate_ids() -> bool:
    if shutil.which("newuidmap") is None or shutil.which("newgidmap") is None:
        return False
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = ""
    wanted = {name, str(os.getuid())} - {""}
    return all(_lists(Path(path), wanted) for path in ("/etc/subuid", "/etc/subgid"))


def _lists(path: Path, wanted: set[str]) -> bool:
    try:
        return any(line.partition(":")[0] in wanted for line in path.read_text().splitlines())
    except OSError:
        return False
