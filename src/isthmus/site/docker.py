"""Docker: `daemon.json` and the CA; and an honest word on what Docker cannot do.

dockerd mirrors docker.io only, at the root of a host (docs.docker.com, "Registry as a pull through cache"): a
mirror with a path is refused by it. So names of other hosts cannot be kept. Not here: containerd.
"""

import json

from isthmus.oci.reference import DEFAULT_HOST
from isthmus.site.installer import Placed, installer
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site


def configure(site: Site) -> Part:
    """`docker/daemon.json`, the CA for `/etc/docker/certs.d`, an installer; decisions where nodes use Docker."""
    files = [OutputFile("docker/daemon.json", daemon_json(site).encode())]
    placed = [Placed("daemon.json", "/etc/docker/daemon.json")]
    if site.ca is not None and not site.is_plain and not site.skip_verify:
        files.append(OutputFile("docker/certs.d/ca.crt", site.ca))
        placed.append(Placed("certs.d", f"/etc/docker/certs.d/{site.registry_host}"))
    # dockerd takes its mirrors on a signal, so running containers stay; its file is JSON and cannot be merged.
    after = ["if systemctl is-active --quiet docker; then systemctl reload docker; fi"]
    files.append(installer("docker", "the site's registry for Docker", placed, after=after))
    return Part(tuple(files), _decisions(site))


def daemon_json(site: Site) -> str:
    """The settings; the mirror is there only where the site answers to docker.io's names at its root."""
    settings: dict[str, list[str]] = {}
    if _answers_at_root(site):
        settings["registry-mirrors"] = [site.registry]
    if site.is_plain or site.skip_verify:
        settings["insecure-registries"] = [site.registry_host]
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def _answers_at_root(site: Site) -> bool:
    """Our own registry takes names without a host for docker.io's; others do where nothing is put before."""
    return site.config.site.registry.kind == "isthmus" or not site.mapping.host_prefix(DEFAULT_HOST)


def _decisions(site: Site) -> tuple[Decision, ...]:
    if site.config.site.nodes.runtime != "docker":
        return ()
    others = [host for host in site.hosts if host != DEFAULT_HOST]
    if not _answers_at_root(site):
        others = list(site.hosts)
    if not others:
        return ()
    return (
        Decision(
            key="site.nodes.runtime",
            why=f"Docker cannot pull names of {', '.join(others)} from a mirror",
            hint="use containerd (cri-dockerd keeps Docker's store), or load archives: `isthmus export`",
        ),
    )
