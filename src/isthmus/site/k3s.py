"""`registries.yaml` for k3s and RKE2, and the setting that keeps them from asking the Internet.

docs.k3s.io, Private Registry Configuration; docs.rke2.io has the same file elsewhere. Names are rewritten by
`rewrite`, which also reaches names that the mapping moves. Not here: containerd on its own.
"""

from typing import Any

from isthmus.site.installer import Placed, installer
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import yaml_text


def configure(site: Site) -> Part:
    """Both distributions, each with an installer."""
    return Part((*_files(site, "k3s", ("k3s", "k3s-agent")), *_files(site, "rke2", ("rke2-server", "rke2-agent"))))


def registries_yaml(site: Site, directory: str) -> dict[str, Any]:
    """The document; `directory` is where the node has the CA beside it."""
    mirrors: dict[str, Any] = {}
    for host in site.hosts:
        mirrors[host] = {"endpoint": [site.registry], "rewrite": _rewrite(site, host)}
    document: dict[str, Any] = {"mirrors": mirrors}
    if site.skip_verify:
        document["configs"] = {site.registry_host: {"tls": {"insecure_skip_verify": True}}}
    elif not site.is_plain and (site.ca is not None or site.ca_path):
        where = site.ca_path or f"{directory}/isthmus-ca.crt"
        document["configs"] = {site.registry_host: {"tls": {"ca_file": where}}}
    return document


def _rewrite(site: Site, host: str) -> dict[str, str]:
    prefix = site.mapping.host_prefix(host)
    if prefix:
        return {"^(.*)$": f"{prefix}/$1"}
    # The flat mapping without a prefix: names of one part have their room in library/.
    return {"^([^/]+)$": "library/$1", "^(.+/.+)$": "$1"}


def _files(site: Site, name: str, services: tuple[str, ...]) -> tuple[OutputFile, ...]:
    directory = f"/etc/rancher/{name}"
    registries = yaml_text(
        registries_yaml(site, directory),
        f"{directory}/registries.yaml: every upstream host, from this site's registry.",
    )
    settings = yaml_text(
        {"disable-default-registry-endpoint": True},
        f"{directory}/config.yaml.d/50-isthmus.yaml: a miss is answered by the site, never asked of the Internet.",
        "Needs v1.26.13, v1.27.10, v1.28.6, v1.29.1 or later.",
    )
    files = [
        OutputFile(f"{name}/registries.yaml", registries.encode()),
        OutputFile(f"{name}/50-isthmus.yaml", settings.encode()),
    ]
    placed = [
        Placed("registries.yaml", f"{directory}/registries.yaml", "0600"),
        Placed("50-isthmus.yaml", f"{directory}/config.yaml.d/50-isthmus.yaml"),
    ]
    if site.ca is not None and not site.ca_path and not site.is_plain:
        files.append(OutputFile(f"{name}/isthmus-ca.crt", site.ca))
        placed.append(Placed("isthmus-ca.crt", f"{directory}/isthmus-ca.crt"))
    restart = [
        f"if systemctl is-active --quiet {service}; then systemctl restart {service}; fi" for service in services
    ]
    files.append(installer(name, f"the site's registry for {name}", placed, after=restart))
    return tuple(files)
