"""docs/guide.md is true: every command in it is run, in order, on the side that the text says, and ends with 0.

What real programs do is done by real ones (OpenSSH, containerd, dnsmasq, chrony, nft, amtool); Harbor is a named
simulator in front of Debian's docker-registry, and what is carried are stand-ins under the true names.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.errors import UnreachableError
from isthmus.inventory.config_file import parse_config
from tests.guide.text import Command, commands, configuration, fragments
from tests.guide.world import World
from tests.real.netns import closed_network
from tests.real.programs import require, require_root

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow, pytest.mark.xdist_group("rehearsal")]
pytest.importorskip("jsonschema_rs", reason="needs the extra ck8s")
pytest.importorskip("helm_python", reason="needs the extra helm")

BETWEEN: dict[str, Callable[[World], None]] = {
    "isthmus scan": World.fill_in,
    "isthmus verify": World.hand_over_keys,
    "isthmus push": World.start_harbor,
    "isthmus refresh": World.a_month_passes,
}
"""What people or time do in the text, before the first command that begins so."""

SAYS = {
    "isthmus rehearse": "pulled",
    "isthmus configure --check": "nothing is open",
    "isthmus report": "report.html",
    "isthmus check --upgrade": "trivy-db",
    "isthmus tunnel ssh://gate.air-gapped.internal --socks": "helm-v3.18.4-linux-amd64.tar.gz",
    "grep -A 3 customIndexes": "http://fileserver.air-gapped.internal:8080/falcoctl/index.yaml",
    "grep -A 2 additionalPlugins": "http://fileserver.air-gapped.internal:8080/",
    "grep -A 10 customConfig": "forward . 10.65.131.137",
    "curl -sSf http://fileserver.air-gapped.internal:8080/falcoctl/index.yaml": "registry.air-gapped.internal",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    require_root("the guide's network")
    require("ip", "nsenter", "unshare", "sshd", "ssh", "scp", "curl", "nft", "containerd", "ctr", "runc")
    require("docker-registry", "dnsmasq", "chronyd", "amtool")
    with closed_network() as network:
        made = World(tmp_path, network, wheels=_wheels())
        try:
            made.build()
            yield made
        finally:
            made.stop()


def _wheels() -> Path | None:
    """The cache with the wheels for this Python, as test_bootstrap fills it; None where they cannot be had."""
    import sys

    from isthmus.bundle.tool import EXTRAS, Target
    from isthmus.bundle.tool.own import own_wheel
    from isthmus.bundle.tool.wheels import cached_wheels

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-test-wheels"
    here = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", os.uname().machine)
    try:
        cached_wheels(own_wheel(), EXTRAS, [here], cache)
    except UnreachableError:
        return None
    return cache


def test_every_command_of_the_guide_is_executed_in_order(world: World) -> None:
    waiting = dict(BETWEEN)
    expected = dict(SAYS)
    for command in commands():
        for words in [words for words in waiting if command.line.startswith(words)]:
            waiting.pop(words)(world)
        said = world.run(command)
        for words in [words for words in expected if command.line.startswith(words)]:
            assert expected.pop(words) in said, f"{command.line}\n{said}"
    # What the test does beside the text, and expects of it, must be about commands that are there.
    assert (waiting, expected) == ({}, {})


def test_the_text_has_the_whole_journey() -> None:
    found = commands()
    programs = {command.line.split()[1] for command in found if command.line.startswith("isthmus ")}
    assert programs >= {
        "init", "scan", "lock", "pull", "status", "rehearse", "keys", "pack", "approve", "send", "verify",
        "unpack", "pki", "push", "check", "serve", "configure", "tunnel", "receipt", "refresh", "report", "cross",
    }  # fmt: skip
    assert {command.side for command in found} == {"outside", "inside"}
    assert Command("outside", "isthmus lock") in found
    for text in (configuration(), *fragments()):
        parse_config(text.encode())
