"""Bundles cross to Debian's sshd in a network namespace: whole, cut, killed, spoiled, and by SFTP alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.bundle import KeyPaths, generate_keys, load_private_key, pack, plan_bundle
from isthmus.store import Store
from tests.bundle.conftest import put_image, tree
from tests.real.docker_registry import DockerRegistry
from tests.real.netns import ClosedNetwork, Namespace
from tests.real.programs import Program, output, require
from tests.real.sshd import Keys, make_keys, start, start_sshd, until_size

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow]

SHELL, SFTP, INNER = 2201, 2202, 2203
ISTHMUS = [sys.executable, "-m", "isthmus"]
QUICK = ("--ssh-option", "ServerAliveInterval=1", "--ssh-option", "ServerAliveCountMax=2")


@dataclass
class Site:
    """A site with one server with a shell, one with SFTP alone, and one behind the first."""

    network: ClosedNetwork
    keys: Keys
    place: Path

    @property
    def node(self) -> Namespace:
        return self.network.node

    def url(self, port: int, directory: Path | str = "", scheme: str = "ssh") -> str:
        return f"{scheme}://root@{self.network.site.address}:{port}{directory}"

    def words(self, command: str, *words: str | Path) -> list[str]:
        return [*ISTHMUS, command, *map(str, words), "--ssh-config", str(self.keys.config), "--json"]

    def send(self, *words: str | Path, status: int = 0) -> Any:
        command = [*self.node.enter, *self.words("send", *words, *QUICK)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def site(network_namespace: ClosedNetwork, tmp_path: Path) -> Iterator[Site]:
    require("ssh", "sshd", "nft", "curl")
    keys = make_keys(tmp_path / "keys")
    at = network_namespace.site
    keys.known([f"[{at.address}]:{SHELL}", f"[{at.address}]:{SFTP}", f"[127.0.0.1]:{INNER}"])
    servers: list[Program] = []
    try:
        servers.append(start_sshd(keys, at, SHELL))
        servers.append(start_sshd(keys, at, SFTP, "ForceCommand internal-sftp"))
        servers.append(start_sshd(keys, at, INNER, address="127.0.0.1"))
        yield Site(network_namespace, keys, tmp_path)
    finally:
        for server in servers:
            print(server.tail())
            server.stop()


def files(place: Path, **sizes: int) -> Path:
    place.mkdir()
    for name, size in sizes.items():
        (place / f"{name}.isv").write_bytes(random.Random(name).randbytes(size))
    return place


def same(one: Path, two: Path) -> bool:
    return {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def received(side: Namespace) -> int:
    link = json.loads(side.output("ip", "-s", "-json", "link", "show", "node0"))[0]
    return int(link["stats64"]["rx"]["bytes"])


@pytest.mark.parametrize("port", [SHELL, SFTP])
def test_a_cut_link_goes_on_with_what_lacks(site: Site, port: int) -> None:
    bundle, far = files(site.place / "bundle", one=12_000_000), site.place / "far"
    sender = start(site.node, *site.words("send", bundle, site.url(port, far), "--limit", "3M", *QUICK))
    until_size(far / "one.isv.part", 4_000_000)
    site.node.output("ip", "link", "set", "site0", "down")
    out, _ = sender.communicate(timeout=40)
    assert sender.returncode == 5
    assert json.loads(out)["error"]["code"] == "unreachable"
    site.node.output("ip", "link", "set", "site0", "up")
    begun = (far / "one.isv.part").stat().st_size
    assert 4_000_000 < begun < 12_000_000
    before = received(site.network.site)
    found = site.send(bundle, site.url(port, far))
    moved = received(site.network.site) - before
    assert found["skipped"] >= begun
    assert found["bytes"] == 12_000_000 - found["skipped"]
    assert moved < found["bytes"] * 1.1 + 1_000_000  # what the cut session still had on its way comes again
    assert same(bundle, far)
    print({"cut at": begun, "sent then": found["bytes"], "bytes on the wire then": moved})


def test_a_sender_that_is_killed_ten_times(site: Site) -> None:
    bundle, far = files(site.place / "bundle", one=9_000_000, two=5_000_000), site.place / "far"
    chance = random.Random(5)
    for _ in range(10):
        words = site.words("send", bundle, site.url(SHELL, far), "--limit", "4M", *QUICK)
        sender = start(site.node, *words)
        time.sleep(chance.uniform(0.3, 1.6))
        sender.kill()
        sender.communicate()
    found = site.send(bundle, site.url(SHELL, far))
    assert found["bytes"] + found["skipped"] == 14_000_000
    assert same(bundle, far)
    deadline = time.monotonic() + 15
    while (left := output("ip", "netns", "pids", site.node.name).split()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, "an ssh outlived its isthmus"


def test_wrong_bytes_there_are_found(site: Site) -> None:
    bundle, far = files(site.place / "bundle", one=3_000_000), site.place / "far"
    far.mkdir()
    data = bytearray((bundle / "one.isv").read_bytes())
    data[100] ^= 1
    (far / "one.isv.part").write_bytes(data[:2_000_000])
    assert site.send(bundle, site.url(SHELL, far))["skipped"] == 0
    assert same(bundle, far)
    (far / "one.isv").write_bytes(data)
    assert site.send(bundle, site.url(SHELL, far))["replaced"] == ["one.isv"]
    assert same(bundle, far)
    (far / "one.isv.part").write_bytes(b"\0" * 4_000_000)  # longer than the file
    (far / "one.isv").unlink()
    assert site.send(bundle, site.url(SHELL, far))["bytes"] == 3_000_000
    assert same(bundle, far)
    # SFTP cannot hash: the first byte is only seen by reading all back, as the output says.
    (far / "one.isv").write_bytes(data)
    found = site.send(bundle, site.url(SFTP, far))
    assert (found["verified"], found["skipped"]) == ("size", 3_000_000)
    found = site.send(bundle, site.url(SFTP, far, "sftp"), "--read-back")
    assert (found["verified"], found["replaced"]) == ("read-back", ["one.isv"])
    assert same(bundle, far)


def test_through_a_jump_host(site: Site) -> None:
    bundle, far = files(site.place / "bundle", one=200_000), site.place / "far"
    url = f"ssh://root@127.0.0.1:{INNER}{far}"
    assert site.send(bundle, url, status=5)["error"]["code"] == "unreachable"
    found = site.send(bundle, url, "-J", f"root@{site.network.site.address}:{SHELL}")
    assert found["bytes"] == 200_000
    assert same(bundle, far)


def test_a_limit_is_kept(site: Site) -> None:
    bundle, far = files(site.place / "bundle", one=6_000_000, two=6_000_000), site.place / "far"
    script = """
import json, sys, time
from isthmus.carry.ssh.address import parse_address
from isthmus.carry.ssh.link import Link, Options
from isthmus.carry.ssh.sending import send
ticks = []
with Link(parse_address(sys.argv[2]), Options(config=sys.argv[3])) as link:
    send([sys.argv[1]], link, limit=3_000_000, progress=lambda done, *_: ticks.append((time.monotonic(), done)))
moving = [tick for tick in ticks if tick[1]]
print(json.dumps([(moving[-1][1] - moving[0][1]) / (moving[-1][0] - moving[0][0]), moving[-1][0] - moving[0][0]]))
"""
    rate, seconds = json.loads(
        site.node.output(sys.executable, "-c", script, bundle, site.url(SHELL, far), site.keys.config)
    )
    print({"rate": rate, "seconds": seconds})
    assert seconds > 2
    assert 2_700_000 < rate < 3_300_000
    assert same(bundle, far)


def test_what_goes_wrong_is_said(site: Site) -> None:
    bundle = files(site.place / "bundle", one=5_000_000)
    far = site.place / "far"
    site.keys.known([f"[{site.network.site.address}]:{SHELL}"], "other")
    error = site.send(bundle, site.url(SHELL, far), status=5)["error"]
    assert error["code"] == "refused"
    assert "another" in error["message"]
    assert "ssh-keygen -R" in error["hint"]
    site.keys.known([f"[{site.network.site.address}]:{SHELL}"])
    error = site.send(bundle, site.url(SHELL, far).replace("root@", "nobody@"), status=5)["error"]
    assert error["code"] == "unauthorized"
    assert site.send(bundle, "ssh://root@10.213.0.77/srv", "--ssh-option", "ConnectTimeout=2", status=5)
    (site.place / "a-file").touch()
    error = site.send(bundle, site.url(SHELL, site.place / "a-file"), status=5)["error"]
    assert "mkdir" in error["message"]
    assert not far.exists()


@pytest.mark.parametrize("options", ["size=3m", "size=20m,nr_inodes=2"])
@pytest.mark.parametrize("line", ["", "ForceCommand internal-sftp"])
def test_a_full_disk_there(site: Site, options: str, line: str) -> None:
    bundle, far = files(site.place / "bundle", one=3_500_000, two=10), site.place / "small"
    far.mkdir()
    output("mount", "-t", "tmpfs", "-o", options, "none", far)
    try:
        # A server's mount namespace has what was mounted before it.
        server = start_sshd(site.keys, site.network.site, 2204, line)
        site.keys.known([f"[{site.network.site.address}]:2204"])
        try:
            error = site.send(bundle, site.url(2204, far), status=5)["error"]
        finally:
            server.stop()
        assert error["code"] == "io-failed"
        assert "full" in error["message"] or "free" in error["message"]
        assert not (far / "one.isv").exists() or not (far / "two.isv").exists()
    finally:
        output("umount", far)


@pytest.fixture
def packed(tmp_path: Path) -> KeyPaths:
    keys = generate_keys(tmp_path / "signing")
    with Store.create(tmp_path / "store") as store:
        put_image(store, "registry.example/team/app", "1", [random.Random(1).randbytes(300_000)])
        pack(plan_bundle(store), store, tmp_path / "bundle", load_private_key(keys.private))
    return keys


def test_isthmus_runs_there_at_the_end(site: Site, packed: KeyPaths) -> None:
    bundle, far, store = site.place / "bundle", site.place / "far", site.place / "far-store"
    program = Path(sys.executable).with_name("isthmus")
    then = ("--then", f"unpack:{store}", "--remote-isthmus", program)
    wrong = generate_keys(site.place / "wrong")
    found = site.send(bundle, site.url(SHELL, far), *then, "--remote-key", wrong.public, status=4)
    assert found["status"] == 4
    assert not store.exists()
    site.send(bundle, site.url(SHELL, far), *then, "--remote-key", packed.public)
    assert tree(store) == tree(site.place / "store")
    assert site.send(bundle, site.url(SFTP, far), "--then", "unpack", status=5)["error"]["status"] == 5


def test_a_tunnel_for_curl_and_for_push(
    site: Site, packed: KeyPaths, docker_registry: Callable[..., DockerRegistry]
) -> None:
    address = "10.99.0.1"
    site.network.site.output("ip", "address", "add", f"{address}/32", "dev", "lo")
    site.node.output("ip", "route", "add", "unreachable", address)
    site.node.output("ip", "link", "set", "lo", "up")
    registry = docker_registry(host=address, wrapper=site.network.site.enter)
    words = [
        *ISTHMUS, "tunnel", site.url(SHELL), "--ssh-config", str(site.keys.config), "--socks", "127.0.0.1:0",
        "--exec", *ISTHMUS, "push", "--store", str(site.place / "store"), "--to", registry.address, "--plain-http",
        "--json",
    ]  # fmt: skip
    assert json.loads(site.node.output(*words))["references"] == 1
    pac = site.place / "site.pac"
    listen = ("--socks", "127.0.0.1:11080", "--pac", pac, "--domain", "site.internal")
    tunnel = start(site.node, *site.words("tunnel", site.url(SHELL), *listen))
    try:
        until_size(pac, 10)
        url = f"http://{registry.address}/v2/_catalog"
        with pytest.raises(Exception, match="status 7"):
            site.node.output("curl", "-sS", "--max-time", "5", url)
        seen = site.node.output("curl", "-sS", "--socks5-hostname", "127.0.0.1:11080", "--max-time", "10", url)
        assert "team/app" in seen
    finally:
        os.kill(tunnel.pid, signal.SIGINT)
        out, _ = tunnel.communicate(timeout=20)
    assert tunnel.returncode == 0
    assert json.loads(out)["proxy"] == "socks5h://127.0.0.1:11080"
