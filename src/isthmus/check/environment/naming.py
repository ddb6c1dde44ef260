"""Questions about time and names: that both come from the site, and that nothing else is answered."""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Final

from isthmus.check.environment import dns, ntp
from isthmus.check.environment.probe import Outcome, Question

OUTSIDE: Final = ("registry-1.docker.io", "isthmus-probe.example")
"""A name that exists out there, and one that does not: both must be refused, and quickly."""

QUICK: Final = 1.0
"""Seconds in which a refusal has to come: every client inside waits that long for each name from outside."""

MAX_OFFSET: Final = 1.0
"""Seconds that a clock may differ: more, and tokens and certificates of the last moment are refused."""


def time_question(server: str, names: Mapping[str, tuple[str, ...]]) -> Question:
    """Whether a time server answers, and how far our clock is from its."""
    host, port = split(server, 123)
    address = next(iter(names.get(host.lower(), ())), host)

    def ask() -> tuple[Outcome, str, str]:
        found = ntp.ask(address, port)
        answer = f"offset {found.offset:+.3f} s, stratum {found.stratum}, it follows {found.reference}"
        if abs(found.offset) > MAX_OFFSET:
            return "fail", answer, "set this machine's clock by it: isthmus configure --only ntp"
        return "pass", answer, ""

    return Question("ntp", f"{server}: the time", ask)


def inside_question(server: str, name: str, addresses: tuple[str, ...]) -> Question:
    """Whether a name of the site has exactly the addresses that it must have."""
    host, port = split(server, 53)
    wanted = {ipaddress.ip_address(text) for text in addresses}
    asked = f"isthmus-probe{name[1:]}" if name.startswith("*.") else name

    def ask() -> tuple[Outcome, str, str]:
        found = set()
        code = ""
        for version, kind in ((4, "A"), (6, "AAAA")):
            if any(address.version == version for address in wanted):
                answer = dns.ask(host, asked, kind, port=port)
                code = answer.code
                found |= {ipaddress.ip_address(text) for text in answer.addresses}
        said = ", ".join(sorted(map(str, found))) or code
        if found == wanted:
            return "pass", said, ""
        return "fail", f"{said}, and not {', '.join(sorted(map(str, wanted)))}", "isthmus configure --only dns"

    return Question("dns", f"{server}: {asked}", ask)


def outside_question(server: str, name: str) -> Question:
    """Whether a name from outside is refused, quickly and by an answer."""
    host, port = split(server, 53)
    hint = "the site's name servers answer for its own names alone: isthmus configure --only dns"

    def ask() -> tuple[Outcome, str, str]:
        answer = dns.ask(host, name, port=port)
        if answer.addresses or answer.code == "NOERROR":
            return "fail", f"{', '.join(answer.addresses) or 'NOERROR'}: it asks somebody outside", hint
        if answer.code not in ("SERVFAIL", "REFUSED", "NXDOMAIN"):
            return "fail", answer.code, hint
        if answer.seconds > QUICK:
            return "fail", f"{answer.code}, but only after {answer.seconds:.1f} s", hint
        return "pass", answer.code, ""

    return Question("dns-outside", f"{server}: {name}", ask)


def policy_question(servers: tuple[str, ...], name: str, networks: tuple[str, ...]) -> Question:
    """Whether the networks that policies are written with cover the addresses that a name really has."""

    def ask() -> tuple[Outcome, str, str]:
        if not networks:
            return (
                "fail",
                "policies cannot name it: it has no address in isthmus.yaml",
                "isthmus configure says where",
            )
        covered = [ipaddress.ip_network(text) for text in networks]
        found = {ipaddress.ip_address(text) for text in _addresses(servers, name)}
        outside = sorted(str(address) for address in found if not any(address in network for network in covered))
        if outside:
            return (
                "fail",
                f"{', '.join(outside)} is not in {', '.join(networks)}",
                "isthmus configure writes them anew",
            )
        if not found:
            return "fail", "it has no address that could be covered", "isthmus configure --only dns"
        return "pass", f"{', '.join(sorted(map(str, found)))} in {', '.join(networks)}", ""

    return Question("policies", f"{name}: covered by NetworkPolicies and firewall", ask)


def _addresses(servers: tuple[str, ...], name: str) -> tuple[str, ...]:
    """What a name stands for inside, by the first name server; an address stands for itself."""
    try:
        return (str(ipaddress.ip_address(name)),)
    except ValueError:
        pass
    if servers:
        host, port = split(servers[0], 53)
        return tuple(text for kind in ("A", "AAAA") for text in dns.ask(host, name, kind, port=port).addresses)
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(str(address[0]).partition("%")[0] for *_, address in found)


def split(server: str, usual: int) -> tuple[str, int]:
    """`host`, `host:port`, `[address]:port` or a bare IPv6 address, with its port or the usual one."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port[1:]) if port[1:].isdigit() else usual
    host, colon, port = server.rpartition(":")
    if colon and ":" not in host and port.isdigit():
        return host, int(port)
    return server, usual
