"""Isthmus gets into a site that has nothing: no network, a Python without packages, and what lies on the disc.

The wheels come from the package index once (kept in the user's cache); all of the rest is in a network namespace.
"""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import UnreachableError
from tests.real.conftest import Upstream
from tests.real.containerd import Containerd
from tests.real.netns import ClosedNetwork, Namespace
from tests.real.programs import Program, ProgramFailed

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow]

ISTHMUS = [sys.executable, "-m", "isthmus"]
BARE = [sys.executable, "-I", "-S"]
PORT = 5000
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def isthmus(*words: str | Path, cwd: Path) -> dict[str, Any]:
    """Run a command outside, with --json, and return its document."""
    command = [*ISTHMUS, *map(str, words), "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def wheels() -> Path:
    """The wheels for this Python, downloaded at most once for all runs."""
    from isthmus.bundle.tool import EXTRAS, Target
    from isthmus.bundle.tool.own import own_wheel
    from isthmus.bundle.tool.wheels import cached_wheels

    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = Target(PYTHON, os.uname().machine)
    try:
        found = cached_wheels(own_wheel(), EXTRAS, [target], Path(base) / "isthmus-test-wheels")
    except UnreachableError as error:
        pytest.skip(f"no wheels from the package index: {error.message}")
    return found[target][0].parent


@pytest.fixture(scope="module")
def disc(upstream: Upstream, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images and the tool, packed outside; beside them two keys, one of which signed."""
    place = tmp_path_factory.mktemp("outside")
    images = [image.reference for image in upstream.generation("v1") if image.static][:2]
    assert images
    (place / "images.txt").write_text("\n".join(images) + "\n")
    site = f"site: {{tools: {{python: ['{PYTHON}'], machines: [{os.uname().machine}]}}}}\n"
    (place / "isthmus.yaml").write_text(site)
    for name in ("isthmus", "other"):
        isthmus("keys", "new", "--out", "keys", "--name", name, cwd=place)
    isthmus("lock", "images:images.txt", *upstream.options, cwd=place)
    isthmus("pull", *upstream.options, cwd=place)
    sign = ("--sign", "keys/isthmus.key")
    packed = isthmus("pack", "--out", "disc", "--volume-size", "20MB", *sign, "--tool-wheels", wheels, cwd=place)
    assert packed["tool"]["version"]
    return place / "disc"


@pytest.fixture
def site(network_namespace: ClosedNetwork) -> Namespace:
    return network_namespace.site


def test_bootstrap_unpack_serve_and_containerd_pulls(
    upstream: Upstream,
    disc: Path,
    network_namespace: ClosedNetwork,
    containerd_in_namespace: Containerd,
    tmp_path: Path,
) -> None:
    key, site = disc.parent / "keys" / "isthmus.pub", network_namespace.site
    clean = ["env", "-i", f"PATH={os.defpath}", "HOME=/nonexistent"]
    said = site.output(*clean, *BARE, disc / "bootstrap.py", "--key", key, "--venv", tmp_path / "tool")
    assert "signature verified" in said
    program = str(tmp_path / "tool" / "bin" / "isthmus")
    where = site.output(*clean, tmp_path / "tool/bin/python", "-c", "import isthmus; print(isthmus.__file__)")
    assert where.startswith(str(tmp_path))
    store = tmp_path / "store"
    assert "complete" in site.output(*clean, program, "verify", disc, "--key", key)
    site.output(*clean, program, "unpack", disc, "--store", store, "--key", key)
    address = f"{site.address}:{PORT}"
    command = [*clean, program, "serve", "--store", str(store), "--listen", address]
    with serving(command, tmp_path / "serve.log", site, address):
        lock = disc.parent / "isthmus.lock"
        configure = (
            "configure",
            "--only",
            "containerd",
            "--lock",
            lock,
            "--registry",
            f"http://{address}",
            "--out",
            tmp_path / "site",
        )
        site.output(*clean, program, *configure)
        for reference in (disc.parent / "images.txt").read_text().split():
            image = next(image for image in upstream.images if image.reference == reference)
            pulled = containerd_in_namespace.pull(reference, tmp_path / "site" / "containerd" / "certs.d")
            assert pulled == image.digest
        run = containerd_in_namespace.run(reference, ["/bin/sh", "-c", "echo carried"])
        assert run.strip() == "carried"


def test_a_wrong_key_refuses_before_anything_runs(disc: Path, site: Namespace, tmp_path: Path) -> None:
    other = disc.parent / "keys" / "other.pub"
    trace = tmp_path / "trace"
    # Whatever Python opens or starts is written down, by a hook that the script cannot undo.
    hook = tmp_path / "hooked.py"
    hook.write_text(
        "import os, runpy, sys\n"
        f"out = os.open({str(trace)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "sys.addaudithook(lambda event, args: event.startswith(('open', 'subprocess', 'os.'))"
        " and os.write(out, f'{event} {args[:2]}\\n'.encode()))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    with pytest.raises(ProgramFailed) as refused:
        site.output(*BARE, hook, disc / "bootstrap.py", "--key", other, "--venv", tmp_path / "tool")
    assert refused.value.status == 4
    assert "not signed as required" in refused.value.complaint
    assert not (tmp_path / "tool").exists()
    events = trace.read_text()
    assert ".isv" in events
    assert not [event for event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork") if event in events]
    assert ".whl" not in events


@pytest.mark.parametrize("lacking", ["ensurepip", "venv"])
def test_a_python_without_pip_or_venv(disc: Path, site: Namespace, tmp_path: Path, lacking: str) -> None:
    """As Debian's python3 without python3-venv, and its python3-minimal."""
    hidden = Path(sysconfig.get_paths()["stdlib"]) / lacking
    (tmp_path / "empty").mkdir()
    key = disc.parent / "keys" / "isthmus.pub"
    script = f'mount --bind "$0" {hidden} && exec "$@"'
    words: list[str | Path] = ["sh", "-c", script, tmp_path / "empty", *BARE, disc / "bootstrap.py", "--key", key]
    said = site.output(*words, "--venv", tmp_path / "a tool")
    assert "without it" in said
    assert "isthmus, version" in site.output(tmp_path / "a tool" / "bin" / "isthmus", "--version")
    verified = site.output(tmp_path / "a tool" / "bin" / "isthmus", "verify", disc, "--key", key)
    assert "complete" in verified


@contextmanager
def serving(command: list[str], log: Path, site: Namespace, address: str) -> Iterator[None]:
    """A server for the length of a context."""
    check = f"import urllib.request as u; u.urlopen('http://{address}/healthz')"

    def answers() -> bool | None:
        try:
            site.output(sys.executable, "-c", check)
        except ProgramFailed:
            return None
        return True

    program = Program(command, log, site.enter)
    try:
        program.wait_until(answers)
        yield
    finally:
        program.stop()
