"""Clients of several TLS libraries verify `isthmus serve` by the site's root alone: OpenSSL, curl, GnuTLS, Go.

They accept a certificate of the issuing CA within the site's domain, and none of them accepts one beyond it,
even if somebody made one with the issuing key: the name constraints hold in all.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.demo import platform
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.site.pki.authority import Authority, Settings, open_authority
from isthmus.site.pki.profile import Constraints
from isthmus.store import Store
from tests.real import go_tools
from tests.real.programs import require

pytestmark = pytest.mark.real

INSIDE, OUTSIDE = "registry.site.internal", "registry.example.com"


@dataclass(frozen=True)
class Served:
    """Two servers with certificates of one authority: for a name of the site, and for another."""

    ca: Path
    ports: dict[str, str]

    def run(self, *words: str, **environment: str) -> tuple[bool, str]:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(self.ca.parent), **environment},
        )  # fmt: skip
        return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    top = tmp_path_factory.mktemp("served")
    with Store.create(top / "store") as store:
        platform.fill_upstream(store)
    limits = Constraints(("site.internal",), ("127.0.0.0/8",))
    authority = Authority(top / "pki", Settings("site.internal", constraints=limits))
    authority.create()
    free = open_authority(top / "pki", Settings())
    free._settings = Settings(name="x")  # who has the key, but does not ask us
    servers = {}
    for name in (INSIDE, OUTSIDE):
        place = free.issue(name, [name, "127.0.0.1"])
        listen = Listen(certificate=place / "tls.crt", key=place / "tls.key")
        servers[name] = ServerThread(top / "store", MirrorMap(), listen)
    yield Served(authority.trust, {name: server.address.rpartition(":")[2] for name, server in servers.items()})
    for server in servers.values():
        server.stop()


@pytest.mark.parametrize(("name", "good"), [(INSIDE, True), (OUTSIDE, False)])
def test_curl(served: Served, name: str, good: bool) -> None:
    require("curl")
    port = served.ports[name]
    words = ("curl", "-sS", "--noproxy", "*", "--cacert", str(served.ca), "--resolve", f"{name}:{port}:127.0.0.1")
    accepted, said = served.run(*words, f"https://{name}:{port}/v2/")
    assert accepted == good, said
    assert good or "permitted subtree violation" in said


def test_curl_without_the_root_refuses(served: Served) -> None:
    require("curl")
    accepted, said = served.run("curl", "-sS", "--noproxy", "*", f"https://127.0.0.1:{served.ports[INSIDE]}/v2/")
    assert not accepted
    assert "certificate" in said


@pytest.mark.parametrize(("name", "good"), [(INSIDE, True), (OUTSIDE, False)])
def test_openssl(served: Served, name: str, good: bool) -> None:
    require("openssl")
    words = ("openssl", "s_client", "-connect", f"127.0.0.1:{served.ports[name]}", "-CAfile", str(served.ca))
    accepted, said = served.run(*words, "-servername", name, "-verify_hostname", name, "-verify_return_error")
    assert accepted == good, said
    assert ("Verify return code: 0 (ok)" in said) == good


@pytest.mark.parametrize(("name", "good"), [(INSIDE, True), (OUTSIDE, False)])
def test_gnutls(served: Served, name: str, good: bool) -> None:
    require("gnutls-cli")
    words = ("gnutls-cli", "--port", served.ports[name], "--x509cafile", str(served.ca), "--verify-hostname", name)
    accepted, said = served.run(*words, "--sni-hostname", name, "127.0.0.1")
    assert accepted == good, said
    assert ("The certificate is trusted" in said) == good


@pytest.mark.parametrize(("name", "good"), [(INSIDE, True), (OUTSIDE, False)])
def test_go(served: Served, name: str, good: bool) -> None:
    """Go's crypto/x509, which containerd, Trivy, Helm and Kubernetes all use; crane speaks for them."""
    crane = str(go_tools.CRANE.binary())
    image = f"127.0.0.1:{served.ports[name]}/mirror/docker.io/library/isthmus-demo-web:1.0"
    accepted, said = served.run(crane, "digest", image, SSL_CERT_FILE=str(served.ca), NO_PROXY="127.0.0.1")
    assert accepted == good, said
    assert good or "not permitted by any constraint" in said
