"""`check --environment` against what a site really runs: chrony, unbound with our configuration, an identity
provider, SeaweedFS, our own server with a certificate of `isthmus pki`, sshd, a mail server; in a closed network.

The node has no resolver: all that it knows are the addresses of isthmus.yaml.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.main import run as run_command
from isthmus.site.pki.authority import Authority, Settings
from isthmus.store import Store
from tests.real import sshd
from tests.real.netns import ClosedNetwork, Namespace
from tests.real.programs import Program, require

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.timeout(240), pytest.mark.xdist_group("seaweedfs")]

ISTHMUS = Path(sys.executable).with_name("isthmus")
DOMAIN = "site.test"

FILE = """
platform: {name: environment}
site:
  domain: site.test
  registry: {host: registry.site.test, addresses: [10.213.0.1]}
  files: {host: files.site.test, port: 8443, address: 10.213.0.1, scheme: https}
  dns: {servers: [10.213.0.1], records: {ntp.site.test: [10.213.0.1]}}
  ntp: {servers: [ntp.site.test]}
  identity: {issuer: "https://dex.site.test:5556/dex", addresses: [10.213.0.1]}
  object_storage: {endpoint: "http://s3.site.test:8333", addresses: [10.213.0.1], auth: "env:TEST_S3"}
  alerts:
    receivers:
      - {name: mail, email: ops@site.test, smarthost: "mail.site.test:2525", addresses: [10.213.0.1]}
      - {name: hook, webhook: "https://dex.site.test:5556/hook", addresses: [10.213.0.1]}
      - {name: log, syslog: "tcp://10.213.0.1:6514"}
  nodes: {addresses: [10.213.0.2]}
"""

SERVER = """
import http.server, json, socketserver, ssl, sys, threading
certificate, key = sys.argv[1:]
ISSUER = "https://dex.site.test:5556/dex"
PAGES = {
    "/dex/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": ISSUER + "/keys",
        "authorization_endpoint": ISSUER + "/auth", "token_endpoint": ISSUER + "/token"},
    "/dex/keys": {"keys": [{"kty": "RSA", "kid": "1", "n": "AQAB", "e": "AQAB"}]},
}
class Identity(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = PAGES.get(self.path)
        body = json.dumps(page or {}).encode()
        self.send_response(200 if page else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_HEAD(self):
        self.send_response(405)
        self.end_headers()
class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 mail.site.test ESMTP\\r\\n")
        self.rfile.readline()
        self.wfile.write(b"221 bye\\r\\n")
class Log(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.read(1)
class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
web = http.server.ThreadingHTTPServer(("10.213.0.1", 5556), Identity)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
web.socket = context.wrap_socket(web.socket, server_side=True)
for server in (Threads(("10.213.0.1", 2525), Mail), Threads(("10.213.0.1", 6514), Log)):
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
web.serve_forever()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with isthmus.yaml, an authority and its certificates, a store, and the DNS configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "isthmus.yaml").write_text(FILE)
    authority = Authority(tmp_path / "pki", Settings(name="site test"))
    authority.create()
    authority.issue("registry", [f"registry.{DOMAIN}", f"files.{DOMAIN}", "10.213.0.1"])
    authority.issue("dex", [f"dex.{DOMAIN}", "10.213.0.1"])
    Store.create(tmp_path / "store").close()
    (tmp_path / "isthmus.lock").write_text(
        "version: 1\nplatforms: []\nreferences:\n- kind: image\n  name: registry.k8s.io/pause:3.10\n"
        f"  digest: sha256:{'1' * 64}\n  evidence: []\n"
    )
    assert run_command(["configure", "--out", "out", "--only", "dns", "--only", "ntp"]) in (0, 3)
    return tmp_path


@pytest.fixture
def site(place: Path, network_namespace: ClosedNetwork) -> Iterator[dict[str, Program]]:
    """All servers of the site by name, in its namespace."""
    require("unbound", "chronyd", "sshd", "ssh")
    side = network_namespace.site
    with ExitStack() as stack:
        started: dict[str, Program] = {}

        def start(name: str, *words: str | Path) -> Program:
            program = Program([*map(str, words)], place / f"{name}.log", side.enter)
            stack.callback(program.stop)
            started[name] = program
            return program

        start("chronyd", "chronyd", "-x", "-d", "-u", "root", "-f", _chrony(place))
        start("unbound", "unbound", "-d", "-c", _unbound(place))
        (place / "servers.py").write_text(SERVER)
        certificates = [place / "pki/issued/dex" / name for name in ("tls.crt", "tls.key")]
        web = start("servers", sys.executable, place / "servers.py", *certificates)
        served = [place / "pki/issued/registry" / name for name in ("tls.crt", "tls.key")]
        serve = start(
            "serve", ISTHMUS, "serve", "--store", place / "store", "--listen", "10.213.0.1:443",
            "--files", "10.213.0.1:8443", "--tls-cert", served[0], "--tls-key", served[1],
        )  # fmt: skip
        _weed(place, start)
        keys = sshd.make_keys(place / "ssh")
        keys.known(["10.213.0.1"])
        server = sshd.start_sshd(keys, side, 22)
        stack.callback(server.stop)
        started["sshd"] = server
        web.wait_until(lambda: "ready" in web.log.read_text() or None)
        serve.wait_until(lambda: "443" in serve.log.read_text() or None)
        yield started


def _chrony(place: Path) -> Path:
    text = (place / "out/ntp/server.conf").read_text()
    kept = [line for line in text.splitlines() if line.split(" ")[0] in ("allow", "local")]
    path = place / "chrony.conf"
    path.write_text("\n".join([*kept, "cmdport 0", "bindaddress 10.213.0.1", f"pidfile {place}/chrony.pid", ""]))
    return path


def _unbound(place: Path) -> Path:
    text = (place / "out/dns/unbound.conf").read_text()
    text += f'server:\n  chroot: ""\n  username: ""\n  directory: "{place}"\n  pidfile: ""\n'
    text += "remote-control:\n  control-enable: no\n"
    path = place / "unbound.conf"
    path.write_text(text)
    return path


def _weed(place: Path, start: Callable[..., Program]) -> None:
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if weed is None:
        return
    keys = {"accessKey": "carrier", "secretKey": "secret-of-the-carrier"}
    identity = {"name": "isthmus", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    (place / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (place / "weed").mkdir()
    start(
        "weed", weed, "server", f"-dir={place}/weed", "-ip=10.213.0.1", "-ip.bind=10.213.0.1", "-s3",
        f"-s3.config={place}/s3.json", "-s3.port=8333", "-volume.max=5", "-master.volumeSizeLimitMB=64",
    )  # fmt: skip


def probe(
    node: Namespace, place: Path, *more: str, trust: bool = True
) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """What the command says on the node, by what was asked."""
    words = ["env", "TEST_S3=carrier:secret-of-the-carrier"]
    words += [f"SSL_CERT_FILE={place}/pki/ca.pem"] if trust else []
    command = [*node.enter, *words, str(ISTHMUS), "check", "--environment", "--json", *more]
    started = time.monotonic()
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=60)
    assert time.monotonic() - started < 30
    assert done.stderr == ""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(done.stdout)["probes"]:
        found.setdefault(each["what"], []).append(each)
    return done.returncode, found


def test_a_site_that_keeps_its_side_and_what_is_said_when_it_does_not(
    site: dict[str, Program], place: Path, network_namespace: ClosedNetwork
) -> None:
    node = network_namespace.node
    _wait_for_storage(node, place, site)
    status, found = probe(node, place)
    outcomes = {what: {each["outcome"] for each in each_of} for what, each_of in found.items()}
    assert outcomes == {
        "ntp": {"pass"},
        "policies": {"pass"},
        "dns": {"pass"},
        "dns-outside": {"pass"},
        "trust-os": {"pass"},
        "trust-containers": {"skip"},
        "registry": {"pass"},
        "files": {"pass"},
        "files-upload": {"pass"},
        "oidc": {"pass"},
        "s3": {"pass"} if "weed" in site else {"fail"},
        "s3-object-lock": {"pass"} if "weed" in site else {"fail"},
        "alerts": {"pass"},
    }, json.dumps(found, indent=1)
    assert status == 0 if "weed" in site else 3
    assert "stratum 10" in found["ntp"][0]["answer"]
    names = {each["asked"].partition(": ")[2]: each["answer"] for each in found["dns"]}
    assert names["registry.site.test"] == "10.213.0.1"
    assert {each["answer"] for each in found["dns-outside"]} == {"SERVFAIL"}
    assert found["files-upload"][0]["answer"].startswith("SSH-2.0-")
    assert found["oidc"][0]["answer"].endswith("1 key")

    # Without the CA in what the system trusts, just that is said: the rest is asked with the site's own CA.
    status, found = probe(node, place, trust=False)
    assert status == 3
    assert {each["outcome"] for each in found["trust-os"]} == {"fail"}
    assert found["registry"][0]["outcome"] == "pass"

    for name in ("chronyd", "unbound", "servers", "sshd"):
        site[name].stop()
    status, found = probe(node, place)
    assert status == 3
    broken = {what for what, probes in found.items() if any(each["outcome"] == "fail" for each in probes)}
    assert broken >= {"ntp", "dns", "dns-outside", "trust-os", "oidc", "alerts"}
    assert found["files-upload"][0]["outcome"] == "skip"
    assert found["registry"][0]["outcome"] == "pass"


def test_a_name_server_that_asks_outside_is_found(place: Path, network_namespace: ClosedNetwork) -> None:
    require("dnsmasq")
    config = place / "open.conf"
    config.write_text(
        "listen-address=10.213.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-daemon\n"
        "address=/docker.io/198.51.100.7\nhost-record=registry.site.test,10.213.0.9\n"
    )
    program = Program(
        ["dnsmasq", "--keep-in-foreground", "-C", str(config)], place / "d.log", network_namespace.site.enter
    )
    try:
        program.wait_until(lambda: "started" in program.log.read_text() or None)
        status, found = probe(network_namespace.node, place)
    finally:
        program.stop()
    assert status == 3
    outside = {each["asked"].rpartition(" ")[2]: each for each in found["dns-outside"]}
    assert outside["registry-1.docker.io"]["outcome"] == "fail"
    assert outside["registry-1.docker.io"]["answer"] == "198.51.100.7: it asks somebody outside"
    assert outside["isthmus-probe.example"]["answer"] == "REFUSED"
    inside = {each["asked"].rpartition(" ")[2]: each for each in found["dns"]}
    assert inside["registry.site.test"]["answer"] == "10.213.0.9, and not 10.213.0.1"


def test_a_check_sees_the_certificates_that_are_really_shown(
    site: dict[str, Program], place: Path, network_namespace: ClosedNetwork
) -> None:
    del site
    node = network_namespace.node
    (node.files / "resolv.conf").write_text("nameserver 10.213.0.1\n")

    def check(*more: str) -> dict[str, Any]:
        command = [*node.enter, str(ISTHMUS), "check", "--json", "-q", "--ca", f"{place}/pki/ca.pem", *more]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 3, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    found = check("--junit", "check.xml")
    assert [each["why"] for each in found["missing"]] == ["it is not there"]
    seen = {(each["what"], each["where"]): each for each in found["certificates"]}
    shown = seen["registry", "registry.site.test:443"]
    assert (
        seen["file server", "files.site.test:8443"]["until"] == shown["until"] == seen["pki", "registry"]["until"]
    )
    assert "files.site.test" in shown["names"]
    assert 363 < shown["days"] <= 365
    assert found["ending"] == []
    assert 'testsuite name="certificates" tests="6" failures="0"' in (place / "check.xml").read_text()
    assert {each["name"].partition(" ")[0] for each in check("--within", "400d")["ending"]} == {
        "registry",
        "file",
        "pki",
    }


def test_a_login_by_ssh(site: dict[str, Program], place: Path, network_namespace: ClosedNetwork) -> None:
    del site
    home = place / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    shutil.copy(place / "ssh/ssh_config", home / ".ssh/config")
    for target, outcome in (("ssh://root@10.213.0.1", "pass"), ("ssh://nobody@10.213.0.1", "fail")):
        shim = place / "bin"
        shim.mkdir(exist_ok=True)
        (shim / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {place}/ssh/ssh_config "$@"\n')
        (shim / "ssh").chmod(0o755)
        node = network_namespace.node
        command = [*node.enter, "env", f"PATH={shim}:{os.environ['PATH']}", "TEST_S3=a:b", str(ISTHMUS)]
        command += ["check", "--environment", "--json", "--upload", target]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=60)
        probes = {each["what"]: each for each in json.loads(done.stdout)["probes"]}
        assert probes["files-upload"]["outcome"] == outcome, probes["files-upload"]


def _wait_for_storage(node: Namespace, place: Path, site: dict[str, Program]) -> None:
    """Until SeaweedFS answers; then a bucket with object lock is made in it, with our own signature."""
    if "weed" not in site:
        return
    script = place / "bucket.py"
    script.write_text(
        "import datetime as dt, hashlib, sys, time, urllib.request, urllib.error\n"
        "from isthmus.check.environment.s3 import Account, signed_headers\n"
        "account = Account('http://10.213.0.1:8333', 'us-east-1', 'carrier', 'secret-of-the-carrier')\n"
        "url = 'http://10.213.0.1:8333/backups'\n"
        "until = time.monotonic() + 60\n"
        "while time.monotonic() < until:\n"
        "    more = {'x-amz-bucket-object-lock-enabled': 'true'}\n"
        "    headers = signed_headers(account, 'PUT', url, dt.datetime.now(dt.UTC), more)\n"
        "    try:\n"
        "        urllib.request.urlopen(urllib.request.Request(url, method='PUT', headers=headers), timeout=5)\n"
        "        break\n"
        "    except OSError as error:\n"
        "        last = error\n"
        "        time.sleep(0.5)\n"
        "else:\n"
        "    sys.exit(str(last))\n"
    )
    node.output(sys.executable, script, timeout=90)
