"""A node installs a carried Debian package with its own apt: a minimal Debian that reaches the site alone.

The chroot is made by mmdebstrap from the machine's own mirror; where there is none, the test is skipped. Outside
is a private repository with a package of ours; inside are `isthmus serve` and the node.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.content.conftest import Publisher
from tests.content.workplace import Workplace
from tests.real.netns import ClosedNetwork
from tests.real.programs import Program, ProgramFailed, output, require, require_root
from tests.real.test_content_debian import Keys, make_repository

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow]

REGISTRY, FILES = 5000, 8080
BUILD_SECONDS = 60


@pytest.fixture(scope="session")
def minimal() -> Path:
    """An unpacked minimal Debian, made once a machine."""
    require("mmdebstrap")
    require_root("a chroot")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = caches / "isthmus-tests" / "debian-apt-bookworm"
    if not root.exists():
        new = root.with_name(f"{root.name}.{os.getpid()}")
        # In namespaces that end with it: a mount of the machine's /dev that outlives it would be removed through.
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        command = [*alone, "mmdebstrap", "--variant=apt", "--mode=root", "bookworm", str(new)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            output("rm", "-rf", "--one-file-system", new)
            pytest.skip(f"mmdebstrap did not end within {BUILD_SECONDS} seconds")
        except subprocess.CalledProcessError as error:
            output("rm", "-rf", "--one-file-system", new)
            pytest.skip(f"mmdebstrap cannot make a Debian here: {error.stderr.strip().splitlines()[-1]}")
        root.parent.mkdir(parents=True, exist_ok=True)
        new.rename(root)
    return root


@pytest.fixture
def node(minimal: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may change."""
    root = tmp_path / "node"
    output("cp", "-a", "--reflink=auto", minimal, root)
    return root


@pytest.fixture
def carried(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """The store `site`, with a partial repository in it; gives the distribution's keys."""
    require("apt-get", "apt-ftparchive", "dpkg-deb", "gpg", "gpgv")
    home = Path("/tmp") / f"isthmus-gpg-{os.getpid()}-site"  # the agent's socket needs a short path
    shutil.rmtree(home, ignore_errors=True)
    publisher = Publisher(tmp_path / "published")
    keys = Keys(home, "distribution")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    place = Workplace(work, capsys)
    try:
        make_repository(publisher.root / "debian", keys, by_hash=True)
        packages = {"debian": f"{publisher.url}/debian", "suite": "stable", "names": ["tool"]}
        place.write({"packages": {**packages, "keyring": str(keys.public)}, "serve": "debian"})
        for words in (["lock"], ["pull"], ["pack", "--no-tool", "--out", "bundle"],
                      ["unpack", "bundle", "--store", str(tmp_path / "site")]):  # fmt: skip
            status, told = place.run(*words)
            assert status == 0, f"{words}: {told}"
        yield keys
    finally:
        keys.close()
        shutil.rmtree(home, ignore_errors=True)
        publisher.server.shutdown()
        publisher.server.server_close()


def test_a_node_without_the_internet_installs_by_its_own_apt(
    carried: Keys, node: Path, network_namespace: ClosedNetwork, tmp_path: Path
) -> None:
    site = network_namespace.site
    serve = Program(
        [sys.executable, "-m", "isthmus", "serve", "--store", str(tmp_path / "site"),
         "--listen", f"{site.address}:{REGISTRY}", "--files", f"{site.address}:{FILES}"],
        tmp_path / "serve.log", site.enter,
    )  # fmt: skip
    shutil.copyfile(carried.public, node / "usr/share/keyrings/site.asc")
    for path in (node / "etc/apt/sources.list.d").glob("*"):
        path.unlink()
    options = "arch=amd64 signed-by=/usr/share/keyrings/site.asc"
    sources = node / "etc/apt/sources.list"
    sources.write_text(f"deb [{options}] http://{site.address}:{FILES}/debian stable main\n")
    apt = ["chroot", str(node), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
           "DEBIAN_FRONTEND=noninteractive", "apt-get"]  # fmt: skip
    try:
        serve.wait_until(lambda: _answers(network_namespace, f"http://{site.address}:{FILES}/healthz"))
        updated = network_namespace.node.output(*apt, "update", "--error-on=any")
        assert f"http://{site.address}:{FILES}/debian stable InRelease" in updated
        network_namespace.node.output(*apt, "install", "-y", "tool")
        assert (node / "usr/share/tool/file").read_text() == "tool 1.0\n"
        assert (node / "usr/share/libtool-thing/file").exists()
        status = output("chroot", node, "dpkg-query", "-W", "-f", "${Status} ${Version}", "tool")
        assert status == "install ok installed 1.0"
        # The lists name all of the suite; what was not carried is not there, and apt says so.
        with pytest.raises(ProgramFailed, match="404"):
            network_namespace.node.output(*apt, "install", "-y", "unwanted")
    finally:
        serve.stop()


def _answers(network: ClosedNetwork, url: str) -> bool | None:
    try:
        network.node.output(sys.executable, "-c", f"import urllib.request as u; u.urlopen({url!r})")
    except ProgramFailed:
        return None
    return True
