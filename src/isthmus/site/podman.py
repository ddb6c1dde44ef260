"""`registries.conf.d` for CRI-O and Podman: every upstream host is looked for in the site's registry alone.

containers-registries.conf(5): with `prefix` and `location` a name is rewritten before it is asked for, so that
nothing falls back to the Internet, and the image keeps its original name on the node. Not here: containerd.
"""

import json

from isthmus.site.installer import Placed, installer
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import heading

FILE = "50-isthmus.conf"


def configure(site: Site) -> Part:
    """`crio/registries.conf.d/50-isthmus.conf`, the CA for `/etc/containers/certs.d`, and an installer."""
    files = [OutputFile(f"crio/registries.conf.d/{FILE}", registries_conf(site).encode())]
    placed = [Placed("registries.conf.d", "/etc/containers/registries.conf.d")]
    if site.ca is not None and not site.is_plain and not site.skip_verify:
        files.append(OutputFile("crio/certs.d/ca.crt", site.ca))
        placed.append(Placed("certs.d", f"/etc/containers/certs.d/{site.registry_host}"))
    files.append(
        installer(
            "crio",
            "the site's registry for CRI-O and Podman",
            placed,
            after=["if systemctl is-active --quiet crio; then systemctl reload-or-restart crio; fi"],
        )
    )
    return Part(tuple(files))


def registries_conf(site: Site) -> str:
    """The file for every upstream host of the lock; names of one part that the mapping moves come first."""
    insecure = site.is_plain or site.skip_verify
    prefixes = {host: _location(site.registry_host, site.mapping.host_prefix(host)) for host in site.hosts}
    for reference in site.references:
        moved = f"{site.registry_host}/{site.mapping.repository(reference)}"
        name = f"{reference.host}/{reference.path}"
        if moved != f"{prefixes[reference.host]}/{reference.path}":
            prefixes[name] = moved
    lines = [heading("Every upstream host, from this site's registry alone.")]
    lines.append('unqualified-search-registries = ["docker.io"]\n')
    lines.append('short-name-mode = "disabled"\n')
    for prefix, location in sorted(prefixes.items()):
        lines.append(f"\n[[registry]]\nprefix = {json.dumps(prefix)}\nlocation = {json.dumps(location)}\n")
        if insecure:
            lines.append("insecure = true\n")
    if insecure:
        lines.append(f"\n[[registry]]\nlocation = {json.dumps(site.registry_host)}\ninsecure = true\n")
    return "".join(lines)


def _location(host: str, prefix: str) -> str:
    return f"{host}/{prefix}" if prefix else host
