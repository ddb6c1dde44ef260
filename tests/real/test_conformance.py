"""The official conformance suite of the OCI distribution-spec against `serve --writable`, without a failure.

It is built from its Go module, pinned, once a machine: the binary and Go's own caches are kept in the user's
cache directory, never in the tree. Skipped where Go is missing or its module cannot be had.
"""

import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, serving
from tests.real import programs

MODULE = "github.com/opencontainers/distribution-spec/conformance"
VERSION = "v0.0.0-20260831232431-97274622c111"
BUILD_SECONDS = 60
USERS = "user:$2y$04$jza5UQLflduAl4ZGYDs88.WRLsdMuYx6WVdPF5aLxqZ80.UfswQDO"
"""Whose password is `secret`; with users, every request goes through the token flow."""

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def suite() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "isthmus-tests" / f"conformance-{VERSION}"
    binary = place / "bin" / "conformance"
    if binary.exists():
        return binary
    programs.require("go")
    environment = os.environ | {
        "GOPATH": str(place / "go"),
        "GOBIN": str(binary.parent),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
    }
    command = ["go", "install", f"{MODULE}@{VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the conformance suite was not built within {BUILD_SECONDS} seconds")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the conformance suite cannot be built: {error.stderr.strip().splitlines()[-1]}")
    return binary


@pytest.mark.parametrize(("version", "least", "users"), [("1.1", 850, ""), ("dev", 980, ""), ("1.1", 850, USERS)])
def test_conformance(suite: Path, tmp_path: Path, version: str, least: int, users: str) -> None:
    """`dev` is what the next version of the specification adds: cancelling, digest headers, tags as parameters."""
    (tmp_path / "users").write_text(users)
    listen = Listen(writable=True, auth=tmp_path / "users" if users else None)
    with serving(tmp_path / "store", MirrorMap(), listen) as address:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OCI_REGISTRY": address,
            "OCI_TLS": "disabled",
            "OCI_VERSION": version,
            "OCI_USERNAME": "user" if users else "",
            "OCI_PASSWORD": "secret" if users else "",
            "OCI_RESULTS_DIR": str(tmp_path / "results"),
        }
        done = subprocess.run(
            [suite], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=240
        )
    report = ET.parse(tmp_path / "results" / "junit.xml").getroot()
    counts = {
        name: int(report.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    }  # 0 is left out
    assert (counts["failures"], counts["errors"], counts["skipped"]) == (0, 0, 0), (
        done.stderr + done.stdout[-5000:]
    )
    assert counts["tests"] >= least
    assert done.returncode == 0
