"""The closed world: a network namespace for the site, one for the node, one for each program that is tried.

All are joined by a bridge in the site's namespace, which is also everybody's default route and leads nowhere: it
does not forward. So every attempt to leave is made, seen there, and lost. The machine's own network is not
touched: the cables are laid from namespace to namespace. Not here: who listens (`recorder`).
"""

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.errors import UnreachableError, UsageError
from isthmus.rehearse.programs import Word, output
from isthmus.rehearse.traces import remove_namespace, run_name

NETWORK = ipaddress.ip_network("10.213.0.0/16")
NETWORK_6 = ipaddress.ip_network("fd21:3a5e:0::/64")
SITE_ADDRESS = "10.213.0.1"
NODE_ADDRESS = "10.213.0.2"
FILES_ADDRESS = "10.213.0.3"
_SITE, _NODE = 1, 2
_FIRST_PROGRAM = 256
_BRIDGE = "site0"


def networks() -> tuple[str, ...]:
    """What is inside: IPv4, and IPv6 where this machine's kernel has it."""
    settings = [Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6") for name in ("all", "default")]
    try:  # a new namespace may inherit that it is switched off
        has_6 = all(path.read_text().strip() == "0" for path in settings)
    except OSError:
        has_6 = False
    return (str(NETWORK), str(NETWORK_6)) if has_6 else (str(NETWORK),)


@dataclass(frozen=True)
class Namespace:
    """One network namespace and its number, which its addresses come from."""

    name: str
    number: int
    resolver: str = ""

    @property
    def address(self) -> str:
        """That of IPv4."""
        return str(NETWORK[self.number])

    @property
    def address_6(self) -> str:
        """That of IPv6."""
        return str(NETWORK_6[self.number])

    @property
    def path(self) -> str:
        """Where the kernel has it, as runtimes take it."""
        return f"/run/netns/{self.name}"

    @property
    def enter(self) -> list[str]:
        """The beginning of a command line that runs the rest inside.

        Not `ip netns exec`, which puts a new /sys over the old one and so hides the cgroups that runc needs.
        """
        words = ["nsenter", f"--net={self.path}", "unshare", "--mount", "--propagation", "slave"]
        if not self.resolver:
            return words
        # Names that this machine knows by itself, such as the site's registry, must not be known in there.
        over = 'mount --bind "$0" /etc/resolv.conf; mount --bind "${0%/*}/hosts" /etc/hosts; exec "$@"'
        return [*words, "sh", "-ec", over, self.resolver]

    def output(self, *command: Word, timeout: float = 120) -> str:
        """Run a program inside to its end; raises UnreachableError `program-failed`."""
        return output(*self.enter, *command, timeout=timeout)


@dataclass
class ClosedNetwork:
    """The site, the node, and the programs that were given a namespace of their own."""

    site: Namespace
    node: Namespace
    _programs: int = 0
    _made: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_open: bool = True

    def program(self) -> Namespace:
        """A new namespace with an address of its own, by which what it sends is known."""
        with self._lock:
            if not self._is_open:
                raise UnreachableError("program-failed", "the rehearsal is over")
            self._programs += 1
            number = self._programs
            namespace = Namespace(f"{run_name()}-p{number}", _FIRST_PROGRAM + number)
            self._made.append(namespace.name)
            _join(namespace, self.site, f"p{number}")
        return namespace

    def remove(self, namespace: Namespace) -> None:
        """Take a program's namespace away, with whatever still runs in it."""
        with self._lock:
            if namespace.name in self._made:
                remove_namespace(namespace.name)
                self._made.remove(namespace.name)

    def remove_all(self) -> None:
        """Take everything away; nothing can be made afterwards."""
        with self._lock:
            self._is_open = False
            for name in (*self._made, self.node.name, self.site.name):
                remove_namespace(name)


@contextmanager
def closed_network(resolver: str) -> Iterator[ClosedNetwork]:
    """Make site and node; at the end nothing is left. `resolver` is the node's resolv.conf;
    beside it is `hosts`.

    Raises UsageError `wrong-usage` where this machine does not allow namespaces.
    """
    network = ClosedNetwork(
        Namespace(f"{run_name()}-site", _SITE), Namespace(f"{run_name()}-node", _NODE, resolver)
    )
    try:
        try:
            _make_site(network.site)
            _join(network.node, network.site, "node")
        except UnreachableError as error:
            raise UsageError(
                "wrong-usage",
                f"no network namespaces can be made here: {error.message}",
                hint="a rehearsal needs root on a Linux machine that allows them",
            ) from error
        yield network
    finally:
        network.remove_all()


def _make_site(site: Namespace) -> None:
    output("ip", "netns", "add", site.name)
    ip = ("ip", "-n", site.name)
    output(*ip, "link", "set", "lo", "up")
    output(*ip, "link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0")
    # What is sent elsewhere reaches the site's end, is seen there, and goes no further.
    site.output("sh", "-ec", "for f in ipv4/ip_forward ipv6/conf/all/forwarding; do f=/proc/sys/net/$f; "
                "[ ! -e $f ] || echo 0 >$f; done")  # fmt: skip
    _give_addresses(site, _BRIDGE)


def _join(namespace: Namespace, site: Namespace, device: str) -> None:
    output("ip", "netns", "add", namespace.name)
    peer = ("peer", "name", "eth0", "netns", namespace.name)
    output("ip", "link", "add", device, "netns", site.name, "type", "veth", *peer)
    output("ip", "-n", site.name, "link", "set", device, "master", _BRIDGE, "up")
    output("ip", "-n", namespace.name, "link", "set", "lo", "up")
    _give_addresses(namespace, "eth0", site)


def _give_addresses(namespace: Namespace, device: str, site: Namespace | None = None) -> None:
    """Without a default route an attempt to leave fails at once, unseen by anybody."""
    lines = [f"address add {namespace.address}/{NETWORK.prefixlen} dev {device}", f"link set {device} up"]
    if site is not None:
        lines.append(f"route add default via {site.address}")
    if len(networks()) > 1:
        lines.append(f"-6 address add {namespace.address_6}/{NETWORK_6.prefixlen} dev {device} nodad")
        if site is not None:
            lines.append(f"-6 route add default via {site.address_6}")
    for line in lines:
        output("ip", "-n", namespace.name, *line.split())
