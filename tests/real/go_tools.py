"""Clients and registries that are built from their Go modules, pinned, once a machine (`GoTool.binary`).

The binary and Go's own caches are kept in the user's cache directory, never in the tree. A test is skipped where
Go is missing, or the module cannot be had in time. Not here: what is done with them.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real import programs

BUILD_SECONDS = int(os.environ.get("ISTHMUS_TEST_BUILD_SECONDS", "60"))


@dataclass(frozen=True)
class GoTool:
    """A program of a module: the package's path, a version, and what the binary is called."""

    package: str
    version: str
    name: str

    @property
    def place(self) -> Path:
        """Where it is kept."""
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return caches / "isthmus-tests" / f"{self.name}-{self.version}"

    def built(self) -> Path | None:
        """The binary, where it was built before."""
        binary = self.place / "bin" / self.name
        return binary if binary.exists() else None

    def binary(self) -> Path:
        """The binary, built where it is missing; skips the test where that cannot be."""
        found = self.built()
        if found is not None:
            return found
        programs.require("go")
        environment = os.environ | {
            "GOPATH": str(self.place / "go"),
            "GOBIN": str(self.place / "bin"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
        command = ["go", "install", f"{self.package}@{self.version}"]
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{self.name} was not built within {BUILD_SECONDS} seconds")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{self.name} cannot be built: {error.stderr.strip().splitlines()[-1]}")
        return self.place / "bin" / self.name


HELM = GoTool("helm.sh/helm/v3/cmd/helm", "v3.17.3", "helm")
CRANE = GoTool("github.com/google/go-containerregistry/cmd/crane", "v0.20.3", "crane")
ORAS = GoTool("oras.land/oras/cmd/oras", "v1.3.6", "oras")
REGISTRY_3 = GoTool("github.com/distribution/distribution/v3/cmd/registry", "v3.0.0", "registry")
ZOT = GoTool("zotregistry.dev/zot/cmd/zot", "v1.4.4-0.20250114181524-5e30fec65c49", "zot")
