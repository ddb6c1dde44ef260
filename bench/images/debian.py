"""Debian's side: which archive this machine uses, a base from mmdebstrap, and packages by apt.

Hosts and keys come from the machine's own apt configuration; nothing is named here. Packages are only
downloaded, with the base's dpkg status deciding what is missing: no maintainer script runs on this machine.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.images.table import Generation, Mode

# The first release of the base, so that times in the layers do not depend on the day they were built.
EPOCH = 1_686_355_200

_VARIANT = {"small": "essential", "full": "minbase"}
_UNUSED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


class BuildError(Exception):
    """The images could not be built."""


class CannotBuildHereError(BuildError):
    """This machine lacks what building needs; not a fault."""


@dataclass(frozen=True)
class Source:
    """One suite of an archive."""

    site: str
    suite: str
    signed_by: str

    def line(self) -> str:
        """Return it as a line of sources.list."""
        option = f"[signed-by={self.signed_by}] " if self.signed_by.startswith("/") else ""
        return f"deb {option}{self.site} {self.suite} main"


def require() -> str:
    """Return this machine's release name, or say what is missing to build images here."""
    release = _os_release()
    if release.get("ID") != "debian" or not release.get("VERSION_CODENAME"):
        raise CannotBuildHereError("building images needs a released Debian, for its archive")
    missing = [name for name in ("mmdebstrap", "apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise CannotBuildHereError(f"not installed: {', '.join(missing)}; try tests/real/install-debian-packages")
    if os.geteuid() != 0:
        raise CannotBuildHereError("building images needs root, for mmdebstrap")
    return release["VERSION_CODENAME"]


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command and return its output; its own words are in the error."""
    merged = {**os.environ, **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=merged)
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def sources(codename: str, generation: Generation) -> list[Source]:
    """Return the suites for a generation as this machine's apt knows them: v2 adds updates and security."""
    wanted = [codename] if generation == "v1" else [codename, f"{codename}-updates", f"{codename}-security"]
    found = _suites()
    if not set(wanted) <= set(found):
        # apt tells only about lists that it has; a new machine may have none, so fetch some of our own.
        with tempfile.TemporaryDirectory(prefix="isthmus-lists-") as lists:
            private = [f"-oDir::State::lists={lists}", "-oAPT::Sandbox::User=root"]
            run("apt-get", *private, "update", "-q")
            found = _suites(*private)
    missing = [suite for suite in wanted if suite not in found]
    if missing:
        raise CannotBuildHereError(f"apt on this machine has no {', '.join(missing)}")
    return [found[suite] for suite in wanted]


def _suites(*options: str) -> dict[str, Source]:
    columns = "$(SITE)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(SIGNED_BY)"
    listed = run("apt-get", *options, "indextargets", "--format", columns, "Created-By: Packages")
    found: dict[str, Source] = {}
    for line in listed.splitlines():
        site, suite, component, origin, signed_by = line.split("|")
        if component == "main" and origin == "Debian":
            found.setdefault(suite, Source(site, suite, signed_by))
    return found


def make_base(codename: str, archive: list[Source], mode: Mode, target: Path) -> None:
    """Write the base's root file system as a tar."""
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED]
    command = ["mmdebstrap", "--quiet", f"--variant={_VARIANT[mode]}", '--aptopt=Acquire::Languages "none"']
    run(
        *command, *options, codename, str(target), *[source.line() for source in archive],
        env={"SOURCE_DATE_EPOCH": str(EPOCH)},
    )  # fmt: skip


class PackageFetcher:
    """An apt of its own: private lists and cache, and the base's dpkg status as what is installed."""

    def __init__(self, directory: Path, archive: list[Source], base: Path) -> None:
        self._directory = directory
        for name in ("etc/preferences.d", "etc/sources.list.d", "lists/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "etc/sources.list").write_text("".join(f"{source.line()}\n" for source in archive))
        with tarfile.open(base) as tar:
            status = tar.extractfile("./var/lib/dpkg/status")
            assert status is not None
            (directory / "status").write_bytes(status.read())
        self._apt("update", "-q")

    def fetch(self, packages: tuple[str, ...]) -> list[Path]:
        """Download the packages and what they depend on beyond the base; return the files by name."""
        cache = self._directory / "archives" / "+".join(packages)
        (cache / "partial").mkdir(parents=True, exist_ok=True)
        self._apt("install", "-q", "-y", "--no-install-recommends", "--download-only", *packages, cache=cache)
        return sorted(cache.glob("*.deb"))

    def _apt(self, *arguments: str, cache: Path | None = None) -> None:
        here = self._directory
        options = {
            "Dir::Etc::sourcelist": here / "etc/sources.list",
            "Dir::Etc::sourceparts": here / "etc/sources.list.d",
            "Dir::Etc::preferences": here / "etc/preferences",
            "Dir::Etc::preferencesparts": here / "etc/preferences.d",
            "Dir::State::lists": here / "lists",
            "Dir::State::status": here / "status",
            "Dir::Cache::archives": cache or here / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Debug::NoLocking": "true",
            "APT::Sandbox::User": "root",
            "APT::Keep-Downloaded-Packages": "true",
        }
        run("apt-get", *[f"-o{key}={value}" for key, value in options.items()], *arguments)
