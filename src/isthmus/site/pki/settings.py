"""What isthmus.yaml says about the authority: its settings, what it may certify, and the site's own servers.

Not here: making anything.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from isthmus.errors import UsageError
from isthmus.inventory.config_values import seconds_of
from isthmus.inventory.site_config import SiteSection
from isthmus.site.pki.authority import Settings
from isthmus.site.pki.profile import Constraints


def settings_of(site: SiteSection) -> Settings:
    """The settings of the site's authority; raises UsageError `invalid-config` where it has no name."""
    name = site.pki.name or site.domain
    if not name:
        raise UsageError(
            "invalid-config",
            "the authority has no name",
            hint="give site.domain, or site.pki.name, in isthmus.yaml",
        )
    constraints = _constraints(site) if site.pki.constrain else Constraints()
    return replace(lives_and_key(site), name=name, constraints=constraints)


def lives_and_key(site: SiteSection) -> Settings:
    """The settings that may change during the life of an authority."""
    section = site.pki
    return Settings(
        key=section.key,
        root_life=seconds_of(section.root),
        issuing_life=seconds_of(section.issuing),
        leaf_life=seconds_of(section.leaf),
    )


def servers_of(site: SiteSection) -> dict[str, tuple[str, ...]]:
    """The site's own servers: what each is called, and the names that its certificate needs."""
    servers: dict[str, tuple[str, ...]] = {}
    registry = _bare(site.registry.host)
    if registry:
        servers["registry"] = tuple(dict.fromkeys((registry, *site.registry.addresses)))
    if site.files.host:
        servers["files"] = tuple(dict.fromkeys(filter(None, (site.files.host, site.files.address))))
    storage = urlsplit(site.object_storage.endpoint or "")
    if storage.scheme == "https" and storage.hostname:
        # Buckets are parts of the name where paths are not used.
        names = (storage.hostname, *(() if site.object_storage.path_style else (f"*.{storage.hostname}",)))
        servers["object-storage"] = names
    return servers


def _constraints(site: SiteSection) -> Constraints:
    domains: list[str] = []
    networks: list[str] = []
    for text in _permitted(site):
        try:
            networks.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            domains.append(text.lower().strip("."))
    below = [other for other in domains for one in domains if other != one and other.endswith(f".{one}")]
    kept = [domain for domain in dict.fromkeys(domains) if domain and domain not in below]
    return Constraints(tuple(kept), tuple(dict.fromkeys(networks)))


def _permitted(site: SiteSection) -> Iterator[str]:
    yield from filter(None, (site.domain, site.ck8s.base_domain, site.ck8s.ops_domain))
    yield from site.pki.permit
    for names in servers_of(site).values():
        yield from (name.removeprefix("*.") for name in names)
    yield from site.dns.records
    for addresses in site.dns.records.values():
        yield from addresses
    yield from site.dns.servers
    for cluster in site.clusters.values():
        yield from (*cluster.control_plane, *cluster.nodes, *cluster.ingress)


def _bare(host: str) -> str:
    """A host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
