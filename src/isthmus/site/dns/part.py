"""`dns/`: configuration for dnsmasq, unbound and CoreDNS, a zone file for any other server, and its checks.

Each answers for the site's domains alone and recurses nowhere. A name that exists without an address of the
kind that was asked for is NODATA, since some resolvers take NXDOMAIN for one kind as the end of the name. For
all other names unbound and CoreDNS answer SERVFAIL; dnsmasq has no way to, and answers REFUSED.
"""

import zlib
from collections.abc import Iterable

from isthmus.site.addresses import cluster_networks, without_address
from isthmus.site.dns.records import Record, records, zones
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import heading

_TTL = 300


def configure(site: Site) -> Part:
    """The files for each program of `site.dns.software`, and `dns/zones/`. Nothing without a domain."""
    domains = zones(site)
    if not domains:
        return Part(notes=("dns: not written, as isthmus.yaml has no site.domain",))
    known = records(site)
    files = [OutputFile(f"dns/zones/{domain}.zone", zone_file(domain, known, site).encode()) for domain in domains]
    makers = {"dnsmasq": dnsmasq, "unbound": unbound, "coredns": corefile}
    names = {"dnsmasq": "dns/dnsmasq.conf", "unbound": "dns/unbound.conf", "coredns": "dns/Corefile"}
    files += [
        OutputFile(names[program], makers[program](domains, known, site).encode())
        for program in site.config.site.dns.software
    ]
    notes = []
    if "dnsmasq" in site.config.site.dns.software and any(record.is_wildcard for record in known):
        notes.append(
            "dns: dnsmasq answers NXDOMAIN to AAAA below a wildcard; use unbound or CoreDNS where that matters"
        )
    return Part(tuple(files), without_address(site), tuple(notes))


def dnsmasq(domains: Iterable[str], known: Iterable[Record], site: Site) -> str:
    """For `/etc/dnsmasq.d/`. Without `server` and with `no-resolv`, other names are refused."""
    lines = [heading("dnsmasq: the site's names alone.")]
    lines += [f"listen-address={address}\n" for address in site.config.site.dns.servers]
    lines.append("bind-dynamic\n")
    lines.append("no-resolv\nno-hosts\ndomain-needed\nbogus-priv\nlocalise-queries\n")
    lines += [f"local=/{domain}/\n" for domain in domains]
    for record in known:
        if record.is_wildcard:
            name = record.name.removeprefix("*.")
            lines += [f"address=/{name}/{address}\n" for address in record.addresses]
        else:
            lines.append(f"host-record={record.name},{','.join(record.addresses)},{_TTL}\n")
    return "".join(lines)


def unbound(domains: Iterable[str], known: Iterable[Record], site: Site) -> str:
    """For `/etc/unbound/unbound.conf.d/`. A forward zone for everything without a server answers SERVFAIL."""
    known = tuple(known)
    lines = [heading("unbound: the site's names alone."), "server:\n"]
    lines.append('  module-config: "iterator"\n')  # nobody signs the site's names, and no root can be asked
    lines += [f"  interface: {address}\n" for address in site.config.site.dns.servers]
    lines += [
        f"  access-control: {network} allow\n" for network in cluster_networks(site) or ("0.0.0.0/0", "::/0")
    ]
    redirected = {record.name.removeprefix("*.") for record in known if record.is_wildcard}
    lines += [f'  local-zone: "{domain}." static\n' for domain in domains if domain not in redirected]
    for record in known:
        name = record.name.removeprefix("*.")
        if record.is_wildcard:
            lines.append(f'  local-zone: "{name}." redirect\n')
        elif any(other.is_wildcard and record.name.endswith(other.name[1:]) for other in known):
            # A redirect zone answers for all below it; a name of its own there needs a zone of its own.
            lines.append(f'  local-zone: "{name}." static\n')
        for version, kind in ((4, "A"), (6, "AAAA")):
            lines += [f'  local-data: "{name}. {_TTL} IN {kind} {text}"\n' for text in record.of_version(version)]
        if not record.is_wildcard:
            lines += [f'  local-data-ptr: "{address} {_TTL} {name}."\n' for address in record.addresses]
    lines.append('forward-zone:\n  name: "."\n')
    return "".join(lines)


def corefile(domains: Iterable[str], known: Iterable[Record], site: Site) -> str:
    """A Corefile; the zones are beside it in `zones/`."""
    del known, site  # they are in the zone files
    lines = [heading("CoreDNS: the site's names alone. Run it in this directory.")]
    lines += [f"{domain} {{\n    errors\n    file zones/{domain}.zone\n    cache 30\n}}\n" for domain in domains]
    lines.append(". {\n    errors\n    template ANY ANY {\n        rcode SERVFAIL\n    }\n}\n")
    return "".join(lines)


def zone_file(domain: str, known: Iterable[Record], site: Site) -> str:
    """A master file (RFC 1035, section 5). Its serial follows from what it says: same input, same bytes."""
    servers = site.config.site.dns.servers or ("127.0.0.1",)
    lines = [f"{name} IN {kind} {address}\n" for name, kind, address in _zone_lines(domain, known)]
    lines += [f"ns IN {'AAAA' if ':' in address else 'A'} {address}\n" for address in servers]
    serial = zlib.crc32("".join(lines).encode()) or 1
    top = f"$ORIGIN {domain}.\n$TTL {_TTL}\n@ IN SOA ns hostmaster ({serial} 3600 600 604800 {_TTL})\n@ IN NS ns\n"
    return heading(f"The zone {domain}.", mark=";") + top + "".join(lines)


def _zone_lines(domain: str, known: Iterable[Record]) -> Iterable[tuple[str, str, str]]:
    for record in known:
        if record.name == domain:
            name = "@"
        elif record.name.endswith(f".{domain}"):
            name = record.name.removesuffix(f".{domain}")
        else:
            continue
        if name == "ns":
            continue
        for version, kind in ((4, "A"), (6, "AAAA")):
            for address in record.of_version(version):
                yield name, kind, address
