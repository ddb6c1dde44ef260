"""Where the site's servers are: names, addresses and ports, from isthmus.yaml alone.

DNS, the firewall and the NetworkPolicies are all written from this, so that they cannot contradict each other.
Not here: asking any name server, since the one inside cannot be asked from outside.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from isthmus.inventory.site_config import SiteSection
from isthmus.site.alerts.address import bridge_url
from isthmus.site.plan import Decision, Site

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Server:
    """One server of the site. `key` is where isthmus.yaml has its addresses, `networks` are CIDRs."""

    what: str
    name: str
    networks: tuple[str, ...]
    port: int
    protocol: str = "tcp"
    key: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its single addresses, without the prefix length."""
        return tuple(
            str(net.network_address) for net in map(ipaddress.ip_network, self.networks) if net.num_addresses == 1
        )


def servers(site: Site) -> tuple[Server, ...]:
    """Every server of the site that isthmus.yaml, or the command line, names."""
    return tuple(_servers(site))


def server(site: Site, what: str) -> Server | None:
    """The one of that kind: registry, files, dns, ntp, object-storage, identity; or None where there is none."""
    return next((found for found in servers(site) if found.what == what), None)


def without_address(site: Site) -> tuple[Decision, ...]:
    """A decision for every server that has a name and no address."""
    return tuple(
        Decision(
            key=found.key,
            why=f"{found.name} has no address, so that neither DNS nor policies can name it",
            hint="the address that it has inside",
        )
        for found in servers(site)
        if found.key and not found.networks
    )


def cidrs(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses and networks as CIDRs, sorted, each once."""
    networks = {ipaddress.ip_network(text, strict=False) for text in addresses if text}
    ordered = sorted(networks, key=lambda net: (net.version, int(net.network_address), net.prefixlen))
    return tuple(map(str, ordered))


def collapsed(addresses: Iterable[str]) -> tuple[str, ...]:
    """As `cidrs`, without those that are within others."""
    networks = [ipaddress.ip_network(text) for text in cidrs(addresses)]
    four = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return (*map(str, ipaddress.collapse_addresses(four)), *map(str, ipaddress.collapse_addresses(six)))


def cluster_networks(site: Site) -> tuple[str, ...]:
    """Where the nodes of all clusters are."""
    clusters = site.config.site.clusters.values()
    return collapsed(text for cluster in clusters for text in (*cluster.nodes, *cluster.control_plane))


def is_address(text: str) -> bool:
    """Whether it is an address rather than a name."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def host_and_port(url: str, usual: int = 443) -> tuple[str, int]:
    """The host of `[scheme://]host[:port]`, and its port or the scheme's."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, usual)


def _servers(site: Site) -> Iterator[Server]:
    section = site.config.site
    host, port = host_and_port(site.registry)
    if host:
        found = _known(section, host, section.registry.addresses)
        yield Server("registry", host, found, port, key="site.registry.addresses")
    if section.files.host:
        found = _known(section, section.files.host, (section.files.address,))
        yield Server("files", section.files.host, found, section.files.port, key="site.files.address")
    for address in section.dns.servers:
        yield Server("dns", "", cidrs([address]), 53, "udp")
    for name in section.ntp.servers:
        yield Server("ntp", name, _known(section, name, ()), 123, "udp", key=f"site.dns.records.{name}")
    if section.object_storage.endpoint:
        host, port = host_and_port(section.object_storage.endpoint)
        found = _known(section, host, section.object_storage.addresses)
        yield Server("object-storage", host, found, port, key="site.object_storage.addresses")
    if section.pki.acme.directory:
        host, port = host_and_port(section.pki.acme.directory)
        found = _known(section, host, section.pki.acme.addresses)
        yield Server("acme", host, found, port, key="site.pki.acme.addresses")
    if section.identity.issuer:
        host, port = host_and_port(section.identity.issuer)
        yield Server(
            "identity",
            host,
            _known(section, host, section.identity.addresses),
            port,
            key="site.identity.addresses",
        )
    yield from _receivers(section)


def _receivers(section: SiteSection) -> Iterator[Server]:
    """What Alertmanager speaks to: for syslog that is the bridge, which speaks to the listener itself."""
    if any(receiver.syslog for receiver in section.alerts.receivers):
        host, port = host_and_port(bridge_url(section))
        given = (section.files.address,) if host == section.files.host else ()
        if host != "127.0.0.1":
            yield Server("alerts-bridge", host, _known(section, host, given), port, key="site.files.address")
    for receiver in section.alerts.receivers:
        target = receiver.webhook or receiver.smarthost
        if target:
            host, port = host_and_port(target, 25)
            found = _known(section, host, receiver.addresses)
            key = f"site.alerts.receivers.{receiver.name}.addresses"
            yield Server(f"alerts-{receiver.name}", host, found, port, key=key)


def _known(section: SiteSection, name: str, given: Iterable[str]) -> tuple[str, ...]:
    """The addresses that are given; or those of the records; or the name, where it is an address."""
    found = [text for text in given if text]
    if not found and is_address(name):
        found = [name.strip("[]")]
    return cidrs(found or section.dns.records.get(name, ()))
