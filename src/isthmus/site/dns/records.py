"""The names of the site and their addresses, as every name server gets them. Not here: any server's syntax."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.site.addresses import is_address, servers
from isthmus.site.plan import Site

# What the service cluster of Compliant Kubernetes serves under the base domain; all other names there are the
# workload cluster's.
SERVICE_NAMES = ("dex", "grafana", "harbor", "opensearch")


@dataclass(frozen=True, order=True)
class Record:
    """A name with its addresses; `*.` before it stands for every name below that has no record of its own."""

    name: str
    addresses: tuple[str, ...]

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for names that are not listed."""
        return self.name.startswith("*.")

    def of_version(self, version: int) -> tuple[str, ...]:
        """Its addresses of IP version 4 or 6."""
        return tuple(text for text in self.addresses if ipaddress.ip_address(text).version == version)


def zones(site: Site) -> tuple[str, ...]:
    """The domains that the site answers for: its own, and those of Compliant Kubernetes that are not below it."""
    section = site.config.site
    wanted = [
        name.lower().strip(".")
        for name in (section.domain, section.ck8s.base_domain or "", section.ck8s.ops_domain or "")
    ]
    names = list(dict.fromkeys(filter(None, wanted)))
    return tuple(name for name in names if not any(name.endswith(f".{other}") for other in names))


def records(site: Site) -> tuple[Record, ...]:
    """Everything with an address that is within the zones, sorted by name; what isthmus.yaml says itself wins."""
    found: dict[str, tuple[str, ...]] = {}
    for server in servers(site):
        if server.name and not is_address(server.name) and server.addresses:
            found[server.name.lower()] = server.addresses
    found |= _clusters(site)
    found |= {name.lower(): addresses for name, addresses in site.config.site.dns.records.items()}
    within = zones(site)
    return tuple(
        Record(name, tuple(sorted(addresses, key=lambda text: int(ipaddress.ip_address(text)))))
        for name, addresses in sorted(found.items())
        if any(name.removeprefix("*.") == zone or name.endswith(f".{zone}") for zone in within)
    )


def _clusters(site: Site) -> dict[str, tuple[str, ...]]:
    section = site.config.site
    found: dict[str, tuple[str, ...]] = {}
    service = _addresses(section.clusters["service"].ingress) if "service" in section.clusters else ()
    workload = _addresses(section.clusters["workload"].ingress) if "workload" in section.clusters else ()
    if section.ck8s.base_domain:
        if workload:
            found[f"*.{section.ck8s.base_domain}"] = workload
        if service:
            found |= {f"{name}.{section.ck8s.base_domain}": service for name in SERVICE_NAMES}
    if section.ck8s.ops_domain and service:
        found[f"*.{section.ck8s.ops_domain}"] = service
    return found


def _addresses(networks: Iterable[str]) -> tuple[str, ...]:
    found = (ipaddress.ip_network(text, strict=False) for text in networks)
    return tuple(str(network.network_address) for network in found if network.num_addresses == 1)
