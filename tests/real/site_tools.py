"""Large programs that read what `configure` writes: Trivy and CoreDNS (`ModuleProgram`).

Each is built once a machine in a module of its own, since `go install` refuses modules with replacements, and is
kept in the user's cache directory. A build takes minutes: one that is not there is only made where
ISTHMUS_TEST_BUILD_SECONDS says for how long, or by `python -m tests.real.site_tools`; otherwise the test is
skipped at once. Not here: small tools (`go_tools`), and what is done with any.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real import programs

SECONDS = "ISTHMUS_TEST_BUILD_SECONDS"


@dataclass(frozen=True)
class ModuleProgram:
    """A program of a Go module; `experiment` is what of Go it needs that is not on by default."""

    name: str
    version: str
    package: str
    experiment: str = ""

    @property
    def place(self) -> Path:
        """Where it is kept."""
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return caches / "isthmus-tests" / f"{self.name}-{self.version}"

    @property
    def target(self) -> Path:
        return self.place / "bin" / self.name

    def binary(self) -> Path:
        """The binary, built where it is missing and time for it was given; otherwise the test is skipped."""
        if self.target.exists():
            return self.target
        seconds = int(os.environ.get(SECONDS, "0"))
        if not seconds:
            pytest.skip(f"{self.name} {self.version} was never built here: {SECONDS}=1800 gives it time to be")
        programs.require("go")
        try:
            self.build(seconds)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{self.name} was not built within {seconds} seconds")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{self.name} cannot be built: {error.stderr.strip().splitlines()[-1]}")
        return self.target

    def build(self, seconds: float) -> None:
        """Make it. Raises CalledProcessError and TimeoutExpired."""
        folder = self.place / "module"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").write_text("module example.org/tools\n\ngo 1.24.0\n")
        (folder / "go.sum").unlink(missing_ok=True)
        environment = os.environ | {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        environment["GOEXPERIMENT"] = self.experiment
        new = self.target.with_suffix(f".{os.getpid()}")
        for command in (
            ["go", "get", "-tool", f"{self.package}@{self.version}"],
            ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(new), self.package],
        ):
            subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment, cwd=folder, timeout=seconds
            )
        new.rename(self.target)


TRIVY = ModuleProgram(
    "trivy",
    "v0.74.0",
    "github.com/aquasecurity/trivy/cmd/trivy",
    experiment="jsonv2",
)
COREDNS = ModuleProgram("coredns", "v1.12.1", "github.com/coredns/coredns")
ALL = (COREDNS, TRIVY)


def main(names: list[str]) -> int:
    """Build those, or all, and say how that went."""
    failed = 0
    for program in ALL:
        if (names and program.name not in names) or program.target.exists():
            continue
        try:
            program.build(float(os.environ.get(SECONDS, "1800")))
            print(f"{program.name} {program.version}: built")
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            failed += 1
            print(f"{program.name} {program.version}: {error}\n{str(error.stderr or '')[-600:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
