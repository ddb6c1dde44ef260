"""What the programs need that fetch things for themselves: Trivy, Falco, OpenSearch.

containerd's mirrors do not help them, since they speak to registries and web servers on their own. Here are the
addresses inside, once for Compliant Kubernetes' keys and for the charts' own values. Not here: either of those.
"""

import re
from collections.abc import Iterator

from isthmus.content.derived import INSIDE_INDEX
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Reference
from isthmus.site.plan import Decision, Site

VULNERABILITIES = "trivy-db"
JAVA = "trivy-java-db"
_TAGS = {VULNERABILITIES: 2, JAVA: 1}
_UPSTREAM = "ghcr.io/aquasecurity"
_MODERN = (5, 8)
_PLUGINS = "https://artifacts.opensearch.org/releases/plugins"
_KERNEL = re.compile(r"(\d+)\.(\d+)", re.ASCII)


def database(site: Site, name: str) -> str:
    """The repository inside of one of Trivy's databases; Trivy adds the tag itself and refuses one here."""
    reference = _locked(site, name) or Reference.parse(f"{_UPSTREAM}/{name}")
    return site.mapping.repository(reference)


def registry_mirrors(site: Site) -> dict[str, str]:
    """For Trivy, which reads images itself: every upstream host, and what stands for it inside."""
    mirrors = {host: _inside(site, host) for host in site.hosts}
    mirrors["index.docker.io"] = _inside(site, "docker.io")  # what Trivy's library calls Docker Hub
    return dict(sorted(mirrors.items()))


def falco_driver(site: Site) -> str:
    """By the kernel: from 5.8 on, the driver in Falco's image needs nothing else."""
    match = _KERNEL.match(site.config.site.nodes.kernel)
    if match is None:
        return "modern_ebpf"
    return "modern_ebpf" if (int(match[1]), int(match[2])) >= _MODERN else "kmod"


def falco_index(site: Site) -> str:
    """The address of falcoctl's index for the inside; nothing where none is carried."""
    carried = any(entry.serve == INSIDE_INDEX for entry in site.entries)
    return f"{site.files_url}/{INSIDE_INDEX}" if carried and site.files_url else ""


def opensearch_plugins(site: Site) -> tuple[str, ...]:
    """Where OpenSearch fetches its plugins from inside, with the scheme that it insists on."""
    if not site.files_url:
        return ()
    return tuple(f"{site.files_url}/{entry.serve}" for entry in _plugins(site) if entry.serve)


def missing_databases(site: Site) -> Iterator[Decision]:
    """Those of Trivy's databases that the lock does not have."""
    for name, tag in _TAGS.items():
        if _locked(site, name) is None:
            yield Decision(
                "platform.add",
                f"the lock has no {name}, so that Trivy finds nothing to compare with",
                f"add: {{artifact: {_UPSTREAM}/{name}:{tag}, refresh: 24h}}, and lock again",
            )


def wrong_plugins(site: Site) -> Iterator[Decision]:
    """What does not fit to the version of OpenSearch that the lock has."""
    version = next((ref.tag for ref in site.references if ref.path == "opensearchproject/opensearch"), "")
    if not version:
        return
    if not site.files_url:
        why = "OpenSearch has no place inside to fetch its plugin for object storage from"
        yield Decision("site.files.host", why, "the site's file server")
    found = _plugins(site)
    if not found:
        url = f"{_PLUGINS}/repository-s3/{version}/repository-s3-{version}.zip"
        why = f"the lock has no plugin for object storage for OpenSearch {version}, so that snapshots fail"
        yield Decision("platform.add", why, f"add: {{file: {url}}}, and lock again")
    for entry in found:
        if version not in entry.name:
            why = f"{entry.name} is for another version than OpenSearch's image, {version}, which refuses it"
            yield Decision("platform.add", why, f"take the one for {version}")


def _plugins(site: Site) -> list[LockEntry]:
    return [entry for entry in site.entries if entry.kind == "file" and "/repository-" in entry.name]


def _locked(site: Site, name: str) -> Reference | None:
    return next((ref for ref in site.references if ref.path.rpartition("/")[2] == name), None)


def _inside(site: Site, host: str) -> str:
    prefix = site.mapping.host_prefix(host)
    return f"{site.registry_host}/{prefix}" if prefix else site.registry_host
