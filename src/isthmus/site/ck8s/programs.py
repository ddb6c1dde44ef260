"""Settings of the programs that fetch things for themselves: Trivy, Harbor's Trivy, Falco, OpenSearch.

containerd's mirrors do not help them, since they speak to registries and web servers on their own. Names of
containers stay those of upstream, because policies and Falco's rules rely on them. Not here: policies.
"""

import re
from collections.abc import Iterator

from isthmus.content.derived import INSIDE_INDEX
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Reference
from isthmus.site.ck8s.setting import Setting, common, service
from isthmus.site.plan import Decision, Site

VULNERABILITIES = "trivy-db"
JAVA = "trivy-java-db"
_UPSTREAM = "ghcr.io/aquasecurity"
_MODERN = (5, 8)
_PLUGINS = "https://artifacts.opensearch.org/releases/plugins"
_KERNEL = re.compile(r"(\d+)\.(\d+)", re.ASCII)


def settings(site: Site) -> Iterator[Setting]:
    """All of them; what is not in the lock is named by `decisions`."""
    yield from _trivy(site)
    yield from _harbor(site)
    yield from _falco(site)
    yield from _opensearch(site)


def decisions(site: Site) -> Iterator[Decision]:
    """What the lock lacks, or what does not go together."""
    for name, tag in ((VULNERABILITIES, 2), (JAVA, 1)):
        if _database(site, name) is None:
            yield Decision(
                "platform.add",
                f"the lock has no {name}, so that Trivy finds nothing to compare with",
                f"add: {{artifact: {_UPSTREAM}/{name}:{tag}, refresh: 24h}}, and lock again",
            )
    if _driver(site) == "kmod":
        yield Decision(
            "site.nodes.kernel",
            f"with kernel {site.config.site.nodes.kernel} Falco needs a module that it downloads. The address in "
            "falco.driver.module.repoURL reaches the loader as FALCOCTL_DRIVER_NAME instead of "
            "FALCOCTL_DRIVER_REPOS (falcosecurity/falco#3070), so that it is not used",
            "take nodes with kernel 5.8 or later, for which the driver is in Falco's image; or install the module",
        )
    yield from _plugin_decisions(site)


def plugin_urls(site: Site) -> tuple[str, ...]:
    """Where OpenSearch fetches its plugins from inside, with the scheme that it insists on."""
    if not site.files_url:
        return ()
    return tuple(f"{site.files_url}/{entry.serve}" for entry in _plugins(site) if entry.serve)


def has_falco_index(site: Site) -> bool:
    """Whether falcoctl's index for the inside is carried, and is wanted."""
    carried = any(entry.serve == INSIDE_INDEX for entry in site.entries)
    return carried and bool(site.files_url) and site.config.site.ck8s.falco_artifacts


def _trivy(site: Site) -> Iterator[Setting]:
    yield common("trivy.scanner.offlineScanEnabled", True)
    for name, key in ((VULNERABILITIES, "db"), (JAVA, "javaDb")):
        yield common(f"trivy.scanner.{key}Registry", site.registry_host)
        yield common(f"trivy.scanner.{key}Repository", _repository(site, name))
    yield common("trivy.scanner.dbRepositoryInsecure", site.is_plain or site.skip_verify)
    mirrors = {host: _mirror(site, host) for host in site.hosts}
    mirrors["index.docker.io"] = _mirror(site, "docker.io")
    yield common(
        "trivy.scanner.registry.mirror",
        dict(sorted(mirrors.items())),
        "Trivy reads the images that it scans itself: every upstream host, by what the site's registry calls it.",
    )
    if site.config.site.registry.pull_secret:
        yield common("trivy.scanner.imagePullSecret.name", site.config.site.registry.pull_secret)


def _harbor(site: Site) -> Iterator[Setting]:
    base = site.registry_host
    variables: dict[str, str] = {
        "SCANNER_TRIVY_DB_REPOSITORY": f"{base}/{_repository(site, VULNERABILITIES)}",
        "SCANNER_TRIVY_JAVA_DB_REPOSITORY": f"{base}/{_repository(site, JAVA)}",
        # The chart writes "false" for this one before; of two variables of one name the last counts.
        "SCANNER_TRIVY_OFFLINE_SCAN": "true",
    }
    if site.is_plain or site.skip_verify:
        variables["SCANNER_TRIVY_INSECURE"] = "true"
    listed = [{"name": name, "value": value} for name, value in variables.items()]
    yield service(
        "harbor.trivy.extraEnvVars", listed, "Harbor has a Trivy of its own, which no other key reaches."
    )


def _falco(site: Site) -> Iterator[Setting]:
    yield common("falco.driver.kind", _driver(site))
    wanted = has_falco_index(site)
    why = "" if wanted else "The rules in Falco's image are used; falcoctl would ask GitHub."
    yield common("falco.artifact.install.enabled", wanted, why)
    if wanted:
        index = {"name": "site", "url": f"{site.files_url}/{INSIDE_INDEX}"}
        yield common("falco.customIndexes", [index])


def _driver(site: Site) -> str:
    """The kernel decides: from 5.8 on, the driver in Falco's image needs nothing else."""
    match = _KERNEL.match(site.config.site.nodes.kernel)
    if match is None:
        return "modern_ebpf"
    return "modern_ebpf" if (int(match[1]), int(match[2])) >= _MODERN else "kmod"


def _opensearch(site: Site) -> Iterator[Setting]:
    yield service("opensearch.plugins.installExternalObjectStoragePlugin", False)
    urls = plugin_urls(site)
    why = "With a scheme, which OpenSearch insists on; of the version of OpenSearch's image."
    yield service("opensearch.plugins.additionalPlugins", list(urls), why if urls else "")


def _plugin_decisions(site: Site) -> Iterator[Decision]:
    version = _opensearch_version(site)
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


def _opensearch_version(site: Site) -> str:
    found = (ref.tag for ref in site.references if ref.path == "opensearchproject/opensearch")
    return next(found, "") or ""


def _plugins(site: Site) -> list[LockEntry]:
    return [entry for entry in site.entries if entry.kind == "file" and "/repository-" in entry.name]


def _database(site: Site, name: str) -> Reference | None:
    return next((ref for ref in site.references if ref.path.rpartition("/")[2] == name), None)


def _repository(site: Site, name: str) -> str:
    """Its repository inside; Trivy adds the tag itself (2, or 1 for Java), and refuses one here."""
    reference = _database(site, name) or Reference.parse(f"{_UPSTREAM}/{name}")
    return site.mapping.repository(reference)


def _mirror(site: Site, host: str) -> str:
    prefix = site.mapping.host_prefix(host)
    return f"{site.registry_host}/{prefix}" if prefix else site.registry_host
