"""What `configure` writes, taken by the programs that it is for: name servers, chrony, nftables, Alertmanager,
systemd, Podman, OpenSSL, a syslog listener."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.site.output import write_files
from isthmus.site.parts import configure_parts
from isthmus.site.plan import Site
from tests.real.netns import ClosedNetwork
from tests.real.programs import Program, output, require, require_root
from tests.real.site_tools import COREDNS
from tests.site.conftest import guide as guide_fixture  # the same site as the golden files

pytestmark = pytest.mark.real

guide = guide_fixture


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, guide: Site) -> Path:
    out = tmp_path_factory.mktemp("site")
    for part in configure_parts(guide).values():
        write_files(part.files, out)
    return out


def test_the_checkers_of_their_programs_accept_them(written: Path) -> None:
    require("dnsmasq", "unbound-checkconf", "chronyd", "amtool")
    output("dnsmasq", "--test", "-C", written / "dns/dnsmasq.conf")
    output("unbound-checkconf", written / "dns/unbound.conf")
    for name in ("client", "server"):
        output("chronyd", "-p", "-f", written / f"ntp/{name}.conf")
    output("amtool", "check-config", written / "alerts/alertmanager.yaml")


def test_systemd_accepts_the_units_and_finds_little_exposed(written: Path) -> None:
    require("systemd-analyze")
    for unit in ("serve/isthmus-serve.service", "alerts/syslog-bridge.service"):
        said = subprocess.run(
            ["systemd-analyze", "verify", written / unit], capture_output=True, text=True, check=False
        ).stderr
        assert not [line for line in said.splitlines() if Path(unit).name in line], said
    unit = str(written / "serve/isthmus-serve.service")
    said = output("systemd-analyze", "security", "--offline=true", "--threshold=25", unit)
    assert "Overall exposure level" in said


@pytest.mark.root
def test_nftables_takes_the_rules_twice_and_refuses_what_is_not_listed(
    written: Path, network_namespace: ClosedNetwork
) -> None:
    require("nft")
    rules = written / "firewall/site.nft"
    site = network_namespace.site
    for _ in range(2):
        site.output("nft", "-f", rules)
    chain = json.loads(site.output("nft", "-j", "list", "chain", "inet", "isthmus_site", "forward"))
    accepted = [item["rule"] for item in chain["nftables"] if "rule" in item and "comment" in item["rule"]]
    assert len(accepted) == 17
    assert '"policy": "drop"' in json.dumps(chain)


RESOLVERS = {
    "dnsmasq": ["dnsmasq", "--keep-in-foreground", "--port=5399", "-C"],
    "unbound": ["unbound", "-d", "-c"],
    "coredns": ["-dns.port", "5399", "-conf"],
}


@pytest.fixture(params=RESOLVERS)
def resolver(request: pytest.FixtureRequest, written: Path, tmp_path: Path) -> Iterator[str]:
    """A name server with the written configuration, on loopback and a port of its own instead of the site's."""
    name: str = request.param
    require(*({name, "dig"} - {"coredns"}))
    require_root(name)
    command = [str(COREDNS.binary()), *RESOLVERS[name]] if name == "coredns" else RESOLVERS[name]
    text = (written / ("dns/Corefile" if name == "coredns" else f"dns/{name}.conf")).read_text()
    if name == "coredns":
        text = text.replace("    file zones/", f"    bind 127.0.0.1\n    file {written}/dns/zones/")
        text = text.replace("    template", "    bind 127.0.0.1\n    template")
    elif name == "dnsmasq":
        text = text.replace("listen-address=10.65.131.137", "listen-address=127.0.0.1").replace(
            "bind-dynamic", "bind-interfaces"
        )
    else:
        text = text.replace("interface: 10.65.131.137", "interface: 127.0.0.1@5399")
        text += f'server:\n  chroot: ""\n  username: ""\n  directory: "{tmp_path}"\n  pidfile: ""\n'
        text += "  access-control: 127.0.0.0/8 allow\nremote-control:\n  control-enable: no\n"
    path = tmp_path / f"{name}.conf"
    path.write_text(text)
    program = Program([*command, str(path)], tmp_path / "log")
    try:
        program.wait_until(lambda: True if ask("registry.air-gapped.internal", "A")[1] else None)
        yield name
    finally:
        program.stop()


def ask(name: str, kind: str) -> tuple[str, list[str]]:
    """The status of an answer and what it says."""
    done = subprocess.run(
        ["dig", "-p", "5399", "@127.0.0.1", "+time=2", "+tries=1", "+noall", "+comments", "+answer", name, kind],
        capture_output=True,
        text=True,
        check=False,
    )
    status = done.stdout.partition("status: ")[2].partition(",")[0]
    answers = [line.split()[-1] for line in done.stdout.splitlines() if line and not line.startswith(";")]
    return status, answers


@pytest.mark.root
@pytest.mark.xdist_group("port-5399")
def test_a_name_server_answers_for_the_site_alone(resolver: str) -> None:
    assert ask("registry.air-gapped.internal", "A") == ("NOERROR", ["10.65.131.138"])
    assert ask("registry.air-gapped.internal", "AAAA") == ("NOERROR", [])  # NODATA, not NXDOMAIN
    assert ask("dual.air-gapped.internal", "AAAA") == ("NOERROR", ["fd00:65::150"])
    assert ask("grafana.air-gapped.internal", "A") == ("NOERROR", ["10.65.10.100"])
    assert ask("any.app.air-gapped.internal", "A") == ("NOERROR", ["10.65.20.100"])
    assert ask("thanos.ops.air-gapped.internal", "A") == ("NOERROR", ["10.65.10.100"])
    if resolver != "dnsmasq":
        assert ask("any.app.air-gapped.internal", "AAAA") == ("NOERROR", [])
    started = time.monotonic()
    expected = "REFUSED" if resolver == "dnsmasq" else "SERVFAIL"
    assert ask("registry-1.docker.io", "A") == (expected, [])
    assert time.monotonic() - started < 1.5  # at once: who asks for the Internet must not wait for it


def test_the_bridge_turns_alerts_into_syslog(written: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, socket.socket() as probe:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, str(written / "alerts/syslog-bridge.py"), f"127.0.0.1:{port}"]
        program = Program(command, tmp_path / "bridge.log")
        try:
            program.wait_until(lambda: True if _connects(port) else None)
            alert = {
                "status": "firing",
                "labels": {"alertname": "DatabaseIsOld", "severity": "critical"},
                "annotations": {"summary": "two\nlines"},
            }
            url = f"http://127.0.0.1:{port}/127.0.0.1/{listener.getsockname()[1]}"
            body = json.dumps({"alerts": [alert]}).encode()
            with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=10) as answer:
                assert answer.status == 204
            line = listener.recv(65536).decode()
            assert line.startswith("<130>1 ")
            assert line.endswith("firing DatabaseIsOld severity=critical two lines")
            for wrong in (b"{}", b"no json", b'{"alerts": [1]}'):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(urllib.request.Request(url, wrong, method="POST"), timeout=10)
                with refused.value as answer:
                    assert answer.status == 400
        finally:
            program.stop()


def _connects(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
