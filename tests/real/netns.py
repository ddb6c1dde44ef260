"""Two network namespaces joined by a cable: the site, and a node that has only the site.

The node has a default route, so that attempts to leave are made and seen; the site's end answers every one
with "unreachable" at once. The node's resolver is an address that is not there. This is the test's closed
network, not the product's rehearsal.
"""

import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.programs import RUN, ProgramFailed, former_runs, output

SITE_ADDRESS = "10.213.0.1"
NODE_ADDRESS = "10.213.0.2"
ABSENT_RESOLVER = "10.255.255.53"

_FILES = Path("/etc/netns")
_numbers = itertools.count(1)

# `ip netns exec` puts a new /sys over the old one, and with it hides the cgroups that runc needs. This does
# the rest of what it does: a mount namespace of its own, with the files of /etc/netns/NAME over /etc.
_ENTER = 'for f in "$0"/*; do [ -e "$f" ] && mount --bind "$f" "/etc/${f##*/}"; done; exec "$@"'


@dataclass(frozen=True)
class Namespace:
    """One side."""

    name: str
    address: str

    @property
    def files(self) -> Path:
        """The directory whose files replace those of /etc for programs started inside from then on."""
        return _FILES / self.name

    @property
    def enter(self) -> list[str]:
        """The beginning of a command line that runs the rest inside."""
        unshare = ["unshare", "--mount", "--propagation", "slave"]
        return ["nsenter", f"--net=/run/netns/{self.name}", *unshare, "sh", "-c", _ENTER, str(self.files)]

    def output(self, *command: str | Path, timeout: float = 120) -> str:
        """Run a program inside to its end and return what it printed."""
        return output(*self.enter, *command, timeout=timeout)


@dataclass(frozen=True)
class ClosedNetwork:
    """Both sides."""

    site: Namespace
    node: Namespace


@contextlib.contextmanager
def closed_network() -> Iterator[ClosedNetwork]:
    """Make both namespaces; remove them, and whatever still runs in them, at the end."""
    remove_former_runs()
    number = next(_numbers)
    site = Namespace(f"{RUN}-{number}-site", SITE_ADDRESS)
    node = Namespace(f"{RUN}-{number}-node", NODE_ADDRESS)
    try:
        try:
            _make(site, node)
        except ProgramFailed as error:
            pytest.skip(f"no network namespaces on this machine: {error.complaint.strip()}")
        yield ClosedNetwork(site, node)
    finally:
        _remove(site.name)
        _remove(node.name)


def remove_former_runs() -> None:
    """Remove what test runs that were killed left behind: namespaces and directories of containerd."""
    known = Path("/run/netns")
    for name in former_runs(os.listdir(known) if known.exists() else []):
        _remove(name)
    temporary = Path(tempfile.gettempdir())
    for name in former_runs(os.listdir(temporary)):
        shutil.rmtree(temporary / name, ignore_errors=True)


def _make(site: Namespace, node: Namespace) -> None:
    for side in (site, node):
        output("ip", "netns", "add", side.name)
        side.files.mkdir(parents=True)
        (side.files / "resolv.conf").write_text(f"nameserver {ABSENT_RESOLVER}\noptions timeout:1 attempts:1\n")
        output("ip", "-n", side.name, "link", "set", "lo", "up")
    output(
        "ip", "link", "add", "node0", "netns", site.name, "type", "veth", "peer", "name", "site0",
        "netns", node.name,
    )  # fmt: skip
    for side, device in ((site, "node0"), (node, "site0")):
        output("ip", "-n", side.name, "address", "add", f"{side.address}/24", "dev", device)
        output("ip", "-n", side.name, "link", "set", device, "up")
    output("ip", "-n", node.name, "route", "add", "default", "via", site.address)
    # A router with nowhere to go answers; one that does not forward drops, and every test would wait.
    output("ip", "-n", site.name, "route", "add", "unreachable", "default")
    settings = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/icmp_ratelimit"
    site.output("sh", "-ec", settings)


def _remove(name: str) -> None:
    shutil.rmtree(_FILES / name, ignore_errors=True)
    if not Path(f"/run/netns/{name}").exists():
        return
    # Only programs of the tests can be in a namespace that the tests made.
    for pid in output("ip", "netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    output("ip", "netns", "delete", name)
