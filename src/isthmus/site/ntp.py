"""`ntp/`: chrony for the site's time server and for every node. Not here: what kubespray and Talos are told.

A site without a reference clock agrees on a time of its own: the server says so by a high stratum.
"""

from isthmus.site.addresses import cluster_networks, collapsed
from isthmus.site.installer import Placed, installer
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import heading

_STATE = "driftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\n"


def configure(site: Site) -> Part:
    """`ntp/server.conf`, `ntp/client.conf` and an installer for clients; a decision where no server is named."""
    section = site.config.site
    if not section.ntp.servers:
        if not section.domain:
            return Part(notes=("ntp: not written, as isthmus.yaml names no time server",))
        why = "nodes ask the Internet for the time where they are told nothing, and certificates depend on it"
        return Part(
            decisions=(Decision("site.ntp.servers", why, "the names or addresses of the site's time servers"),)
        )
    files = [
        OutputFile("ntp/server.conf", _server(site).encode()),
        OutputFile("ntp/client.conf", _client(site).encode()),
        installer(
            "ntp",
            "the site's time servers for chrony",
            [Placed("client.conf", "/etc/chrony/chrony.conf", condition='[ -d "$root/etc/chrony" ]'),
             Placed("client.conf", "/etc/chrony.conf", condition='[ ! -d "$root/etc/chrony" ]')],
            after=["systemctl try-restart chrony chronyd 2>/dev/null || :"],
        ),
    ]  # fmt: skip
    return Part(tuple(files))


def _server(site: Site) -> str:
    section = site.config.site
    allowed = collapsed(section.ntp.allow) or cluster_networks(site)
    lines = [heading("chrony on the site's time server. Add a reference clock here where there is one.")]
    lines += [f"allow {network}\n" for network in allowed] or ["allow\n"]
    # An orphan group: several servers of a site without a clock follow one of them.
    lines.append("local stratum 10 orphan\n")
    return "".join(lines) + _STATE


def _client(site: Site) -> str:
    lines = [heading("chrony on every node: the site's time servers alone.")]
    lines += [f"server {name} iburst\n" for name in site.config.site.ntp.servers]
    return "".join(lines) + _STATE
