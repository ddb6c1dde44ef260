"""Which packages are needed: apt's own answer, in a private root, from indexes on disk. Works for any user.

Nothing is fetched or installed: apt is given a repository of indexes alone, and asked for addresses. Not here:
the indexes (`debian`).
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec

from isthmus.content.naming import checked_path
from isthmus.errors import UnreachableError, UsageError
from isthmus.oci import Digest

PATIENCE = 900
_WANTED = re.compile(r"'copy:([^']+)' (\S+) ([0-9]+) SHA256:([0-9a-f]{64})", re.ASCII)


class Package(msgspec.Struct, frozen=True, order=True):
    """A .deb: its path in the repository, its bytes, and what it is called with version and architecture."""

    path: str
    digest: Digest
    size: int
    title: str


def needed(
    repository: Path, root: Path, suite: str, components: Sequence[str], architecture: str, names: Sequence[str],
    *, installed: str = "", recommends: bool = False, where: str = "",
) -> tuple[Package, ...]:  # fmt: skip
    """The packages of these names and all that they depend on, less what a node has installed.

    Raises UsageError (`wrong-usage` without apt), UnreachableError (`not-found` for what is not there or does
    not fit together).
    """
    status = _status(installed, root)
    _write(root, repository, suite, components, architecture, status)
    _apt(root, "update", "-qq", where=where)
    flag = "--install-recommends" if recommends else "--no-install-recommends"
    out = _apt(root, "install", "--print-uris", "-qq", "-y", flag, "--", *names, where=where)
    prefix = f"{repository}/"
    found = []
    for line in out.splitlines():
        match = _WANTED.match(line)
        if match is None and line.startswith("'"):
            raise UsageError("invalid-input", f"apt knows no SHA-256 of a package: {line[:200]}", where=where)
        if match is None:
            continue
        path = unquote(match[1])
        if not path.startswith(prefix):
            raise UsageError("invalid-input", f"apt names a file elsewhere: {path[:200]}", where=where)
        relative = checked_path(path.removeprefix(prefix))
        found.append(Package(relative, Digest(f"sha256:{match[4]}"), int(match[3]), unquote(match[2])))
    if not found and not installed:
        raise UnreachableError("not-found", "apt names no package to carry", where=where)
    return tuple(sorted(found))


def _status(installed: str, root: Path) -> Path:
    status = root / "status"
    root.mkdir(parents=True, exist_ok=True)
    try:
        data = Path(installed).read_bytes() if installed else b""
    except OSError as error:
        raise UsageError("file-not-found", f"it cannot be read: {error.strerror}", where=installed) from error
    status.write_bytes(data)
    return status


def _write(
    root: Path, repository: Path, suite: str, components: Sequence[str], architecture: str, status: Path
) -> None:
    for name in ("state/lists/partial", "cache/archives/partial", "etc", "log"):
        (root / name).mkdir(parents=True, exist_ok=True)
    source = f"deb [arch={architecture} trusted=yes] copy:{repository} {suite} {' '.join(components)}\n"
    (root / "etc" / "sources.list").write_text(source)
    settings = {
        "Dir": root,
        "Dir::State": root / "state",
        "Dir::State::status": status,
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::Etc::main": "none",
        "Dir::Etc::parts": "none.d",
        "Dir::Etc::sourcelist": root / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "none.d",
        "Dir::Etc::preferences": "none",
        "Dir::Etc::preferencesparts": "none.d",
        "Dir::Etc::trusted": "none",
        "Dir::Etc::trustedparts": "none.d",
        "Dir::Log": root / "log",
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Check-Valid-Until": "false",
        "Debug::NoLocking": "1",
    }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    (root / "apt.conf").write_text("\n".join([*lines, f'APT::Architectures {{ "{architecture}"; }};', ""]))


def _apt(root: Path, *arguments: str, where: str) -> str:
    environment = {
        **os.environ,
        "APT_CONFIG": str(root / "apt.conf"),
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    try:
        done = subprocess.run(
            ["apt-get", *arguments], capture_output=True, timeout=PATIENCE, check=False, env=environment, cwd=root,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise UsageError(
            "wrong-usage", "there is no apt-get on this machine, which says what packages depend on", where=where,
            hint="lock on a Debian or Ubuntu machine or in such a container; no root is needed",
        ) from error  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError("io-failed", "apt-get did not end", where=where) from error
    if done.returncode:
        said = [
            line for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines() if line.strip()
        ]
        words = " ".join(" ".join(said[-12:]).split())[-600:]
        raise UnreachableError("not-found", f"the packages cannot be had: {words}", where=where)
    return done.stdout.decode("utf-8", "replace")
