"""`firewall/`: what the clusters may reach, as nftables rules and as a table for the people of the network.

Not here: policies inside the clusters (`network_policies`).
"""

import csv
import io
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from isthmus.site.addresses import cidrs, cluster_networks, servers, without_address
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import heading


@dataclass(frozen=True)
class Flow:
    """One thing that is allowed; `source` and `target` name groups of networks."""

    source: str
    target: str
    networks: tuple[str, ...]
    port: int
    protocol: str
    why: str


def configure(site: Site) -> Part:
    """`firewall/site.nft`, `firewall/flows.csv` and `firewall/flows.md`."""
    found = tuple(flows(site))
    if not found:
        return Part(notes=("firewall: not written, as isthmus.yaml names no address of the site",))
    files = (
        OutputFile("firewall/site.nft", _nftables(site, found).encode()),
        OutputFile("firewall/flows.csv", _csv(site, found).encode()),
        OutputFile("firewall/flows.md", _markdown(site, found).encode()),
    )
    return Part(files, without_address(site))


def flows(site: Site) -> Iterator[Flow]:
    """From all clusters to every server, and between the clusters and their API servers and ingresses."""
    for server in servers(site):
        if not server.networks:
            continue
        for protocol in ("udp", "tcp") if server.what == "dns" else (server.protocol,):
            yield Flow(
                "clusters",
                server.what,
                server.networks,
                server.port,
                protocol,
                f"{server.what} {server.name}".strip(),
            )
    clusters = site.config.site.clusters
    for name, cluster in sorted(clusters.items()):
        for port in (80, 443) if cluster.ingress else ():
            yield Flow("clusters", f"{name}-ingress", cidrs(cluster.ingress), port, "tcp", f"ingress of {name}")
        if cluster.control_plane:
            networks = cidrs(cluster.control_plane)
            yield Flow("clusters", f"{name}-api", networks, cluster.api_port, "tcp", f"API server of {name}")


def _nftables(site: Site, found: tuple[Flow, ...]) -> str:
    sources = cluster_networks(site)
    lines = [
        heading(
            "nftables for the router between the clusters and the rest of the site; check it with nft -c -f.",
            "What is not listed is dropped, counted and logged.",
        ),
        # The table is made before it is deleted, so that loading it the first time is no error.
        "table inet isthmus_site\ndelete table inet isthmus_site\ntable inet isthmus_site {\n",
        *(_set(f"clusters{version}", sources, version) for version in (4, 6)),
        "  chain forward {\n    type filter hook forward priority filter; policy drop;\n",
        "    ct state established,related accept\n",
        "    ct state invalid drop\n",
    ]
    for version, family in ((4, "ip"), (6, "ip6")):
        source = f"{family} saddr @clusters{version} "
        if _of(sources, version):
            lines.append(f'    {source}{family} daddr @clusters{version} accept comment "within the clusters"\n')
        for flow in found:
            targets = _of(flow.networks, version)
            if not targets or (sources and not _of(sources, version)):
                continue
            limit = source if sources else ""
            where = f"{family} daddr {{ {', '.join(targets)} }} {flow.protocol} dport {flow.port}"
            lines.append(f'    {limit}{where} accept comment "{flow.why}"\n')
    lines.append('    limit rate 10/second log prefix "isthmus-denied "\n    counter drop\n  }\n}\n')
    return "".join(lines)


def _set(name: str, networks: tuple[str, ...], version: int) -> str:
    elements = _of(networks, version)
    if not elements:
        return ""
    kind = "ipv4_addr" if version == 4 else "ipv6_addr"
    settings = f"type {kind}\n    flags interval\n    auto-merge\n    elements = {{ {', '.join(elements)} }}"
    return f"  set {name} {{\n    {settings}\n  }}\n"


def _of(networks: tuple[str, ...], version: int) -> list[str]:
    return [text for text in networks if ipaddress.ip_network(text).version == version]


def _rows(site: Site, found: tuple[Flow, ...]) -> Iterator[tuple[str, ...]]:
    source = " ".join(cluster_networks(site)) or "any"
    for flow in found:
        yield source, flow.target, " ".join(flow.networks), str(flow.port), flow.protocol, flow.why


_COLUMNS = ("from", "to", "addresses", "port", "protocol", "why")


def _csv(site: Site, found: tuple[Flow, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(site, found))
    return text.getvalue()


def _markdown(site: Site, found: tuple[Flow, ...]) -> str:
    lines = [
        "# What the clusters may reach\n",
        "\n",
        "Everything else is refused. Nothing leads to the Internet.\n",
        "\n",
    ]
    lines += [f"| {' | '.join(row)} |\n" for row in (_COLUMNS, ("---",) * len(_COLUMNS), *_rows(site, found))]
    return "".join(lines)
