"""Runtimes pull through what `configure` wrote, by original names, from a registry with the site's own CA and with
users: Podman by registries.conf, containerd by hosts.toml and the credentials script."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.demo import platform
from isthmus.inventory.config import Config
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.site.output import write_files
from isthmus.site.parts import configure_parts
from isthmus.site.pki.authority import Authority, Settings
from isthmus.site.plan import Site
from isthmus.store import Store
from tests.real.containerd import Containerd
from tests.real.netns import ClosedNetwork
from tests.real.programs import Program, ProgramFailed, output, require, short_directory

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow]

PORT = 5443


@dataclass(frozen=True)
class Running:
    """A served store of the site, its directory of generated files, and what it holds."""

    address: str
    out: Path
    digests: dict[str, str]


@pytest.fixture
def running(request: pytest.FixtureRequest, network_namespace: ClosedNetwork, tmp_path: Path) -> Iterator[Running]:
    """TLS by our own CA; with users where the test is marked so."""
    side = network_namespace.site
    with Store.create(tmp_path / "store") as store:
        platform.fill_upstream(store)
        held = {stored.name: stored.descriptor for stored in store.references()}
    authority = Authority(tmp_path / "pki", Settings("site"))
    authority.create()
    certificate = authority.issue("registry", [side.address])
    address = f"{side.address}:{PORT}"
    command = [sys.executable, "-m", "isthmus", "serve", "--store", str(tmp_path / "store"), "--listen", address]
    command += ["--tls-cert", str(certificate / "tls.crt"), "--tls-key", str(certificate / "tls.key")]
    if "with_users" in request.fixturenames:
        users = tmp_path / "users"
        users.write_text(output("htpasswd", "-nbB", "node", "pass:word"))
        command += ["--auth", str(users)]
    entries = [
        LockEntry(kind="image", name=name, digest=descriptor.digest, size=1) for name, descriptor in held.items()
    ]
    site = Site(Config(), f"https://{address}", MirrorMap(), tuple(entries), ca=authority.trust.read_bytes())
    for part in configure_parts(site, ["containerd", "crio"]).values():
        write_files(part.files, tmp_path / "out")
    program = Program(command, tmp_path / "serve.log", side.enter)
    try:
        program.wait_until(lambda: _answers(network_namespace, address, authority.trust))
        yield Running(address, tmp_path / "out", {name: str(item.digest) for name, item in held.items()})
    finally:
        program.stop()


@pytest.fixture
def with_users() -> None:
    """Asking for it gives the registry users."""
    require("htpasswd")


def _answers(network: ClosedNetwork, address: str, ca: Path) -> bool | None:
    program = (
        "import ssl,sys,urllib.request as u;"
        "u.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2]))"
    )
    try:
        network.node.output(sys.executable, "-c", program, f"https://{address}/healthz", ca)
    except ProgramFailed:
        return None
    return True


NAMES = [
    "docker.io/library/isthmus-demo-web:1.0",
    "quay.io/isthmus-demo/api:v2",
    "registry.k8s.io/isthmus-demo-pause:3.10",
]


def test_podman_pulls_by_original_names(
    request: pytest.FixtureRequest, running: Running, network_namespace: ClosedNetwork, tmp_path: Path
) -> None:
    require("podman")
    root, short = tmp_path / "root", short_directory()  # Podman's sockets are there
    request.addfinalizer(lambda: shutil.rmtree(short, ignore_errors=True))
    subprocess.run(
        ["sh", str(running.out / "crio/install.sh"), "--root", str(root)], check=True, capture_output=True
    )
    settings = root / "etc/containers/registries.conf.d/50-isthmus.conf"
    podman = ["env", f"CONTAINERS_REGISTRIES_CONF={settings}"]
    podman += [
        "podman",
        "--root",
        str(short / "c"),
        "--runroot",
        str(short / "r"),
        "--storage-driver",
        "vfs",
    ]
    trust = ["--cert-dir", str(root / f"etc/containers/certs.d/{running.address}")]
    for name in NAMES:
        network_namespace.node.output(*podman, "pull", "-q", *trust, name)
        found = network_namespace.node.output(
            *podman, "image", "inspect", "--format", "{{json .RepoDigests}}", name
        )
        assert running.digests[name] in found
    with pytest.raises(ProgramFailed) as refused:
        network_namespace.node.output(*podman, "pull", "-q", *trust, "quay.io/isthmus-demo/nothing:1")
    assert "was not carried here" in refused.value.complaint
    assert "quay.io/v2" not in refused.value.complaint


def test_containerd_pulls_with_the_credentials_of_the_script(
    with_users: None, running: Running, containerd_in_namespace: Containerd, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    certs = root / "etc/containerd/certs.d"
    scripts = running.out / "containerd"
    subprocess.run(["sh", str(scripts / "install.sh"), "--root", str(root)], check=True, capture_output=True)
    with pytest.raises(ProgramFailed, match=r"401|unauthorized|authorization"):
        containerd_in_namespace.pull(NAMES[0], certs)
    for _ in range(2):
        change = ["sh", str(scripts / "credentials.sh"), "--root", str(root), "-"]
        subprocess.run(change, input=b"node:pass:word\n", check=True, capture_output=True)
    for name in NAMES:
        assert containerd_in_namespace.pull(name, certs) == running.digests[name]
    assert (certs / "docker.io/hosts.toml").stat().st_mode & 0o077 == 0
    with pytest.raises(ProgramFailed, match="not found"):
        containerd_in_namespace.pull("quay.io/isthmus-demo/nothing:1", certs)
    subprocess.run(
        ["sh", str(scripts / "credentials.sh"), "--root", str(root), "--remove"], check=True, capture_output=True
    )
    before = (scripts / "certs.d/docker.io/hosts.toml").read_bytes()
    assert (certs / "docker.io/hosts.toml").read_bytes() == before
