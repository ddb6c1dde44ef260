"""Programs of others, started and stopped for sure; and the reasons to skip where they are not there.

A started program dies with the test run, however that ends: setpriv asks the kernel to kill it when its
parent goes (to be exact, when the thread that started it ends). Nothing here ends a process that it did not start.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

RUN = f"isthmus-test-{os.getpid()}"
"""Begins the name of everything on the machine that belongs to this run."""

_PACKAGES = {"ctr": "containerd", "ip": "iproute2", "htpasswd": "apache2-utils"}


def require(*names: str) -> None:
    """Skip the test, with the Debian package to install, unless all programs are there."""
    missing = sorted({_PACKAGES.get(name, name) for name in names if shutil.which(name) is None})
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (run tests/real/install-debian-packages)")


def require_root(purpose: str) -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip(f"{purpose} needs root")


def short_directory() -> Path:
    """Make a directory with a path short enough for the sockets in it (108 bytes), named after this run."""
    return Path(tempfile.mkdtemp(prefix=f"{RUN}-"))


def former_runs(names: list[str]) -> list[str]:
    """Return those names which belong to a run whose process is gone."""
    found = [(name, re.fullmatch(r"isthmus-test-(\d+)(-.*)?", name)) for name in names]
    return [name for name, match in found if match and not Path(f"/proc/{match[1]}").exists()]


def output(*command: str | Path, env: dict[str, str] | None = None, timeout: float = 120) -> str:
    """Run a program to its end and return what it printed; its complaint is in the failure."""
    words = [str(word) for word in command]
    environment = None if env is None else {**os.environ, **env}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=timeout)
    if done.returncode != 0:
        raise ProgramFailed(words, done.returncode, done.stderr or done.stdout)
    return done.stdout


class ProgramFailed(Exception):
    """A program ended with another status than 0."""

    def __init__(self, command: list[str], status: int, complaint: str) -> None:
        super().__init__(f"{' '.join(command)}: status {status}\n{complaint[-3000:]}")
        self.status = status
        self.complaint = complaint


class Program:
    """A server of somebody else, with its log in a file."""

    def __init__(self, command: list[str], log: Path, wrapper: list[str] | None = None) -> None:
        self.log = log
        self.name = command[0]
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*(wrapper or []), "setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: Callable[[], T | None], seconds: float = 20) -> T:
        """Poll until ready() gives something; stop the program and fail with its log otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            result = ready()
            if result is not None:
                return result
            time.sleep(0.02)
        status = self._process.poll()
        self.stop()
        what = f"did not become ready in {seconds:.0f} s" if status is None else f"ended with {status}"
        raise AssertionError(f"{self.name} {what}\n{self.tail()}")

    def tail(self, size: int = 4000) -> str:
        """Return the end of the log."""
        return f"--- {self.log.name} ---\n{self.log.read_text(errors='replace')[-size:]}"

    def stop(self, seconds: float = 5) -> None:
        """End it: asked first, killed when it does not listen."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        self._process.kill()
        self._process.wait()
