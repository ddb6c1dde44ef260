"""Settings of the programs that fetch things for themselves: Trivy, Harbor's Trivy, Falco, OpenSearch.

Names of containers stay those of upstream, because policies and Falco's rules rely on them. Not here: what the
addresses are (`fetchers`), and policies.
"""

from collections.abc import Iterator

from isthmus.site import fetchers
from isthmus.site.ck8s.setting import Setting, common, service
from isthmus.site.plan import Decision, Site


def settings(site: Site) -> Iterator[Setting]:
    """All of them; what is not in the lock is named by `decisions`."""
    yield from _trivy(site)
    yield from _harbor(site)
    yield from _falco(site)
    yield service("opensearch.plugins.installExternalObjectStoragePlugin", False)
    urls = fetchers.opensearch_plugins(site)
    why = "With a scheme, which OpenSearch insists on; of the version of OpenSearch's image."
    yield service("opensearch.plugins.additionalPlugins", list(urls), why if urls else "")


def decisions(site: Site) -> Iterator[Decision]:
    """What the lock lacks, or what does not go together."""
    yield from fetchers.missing_databases(site)
    if fetchers.falco_driver(site) == "kmod":
        yield Decision(
            "site.nodes.kernel",
            f"with kernel {site.config.site.nodes.kernel} Falco needs a module that it downloads. The address in "
            "falco.driver.module.repoURL reaches the loader as FALCOCTL_DRIVER_NAME instead of "
            "FALCOCTL_DRIVER_REPOS (falcosecurity/falco#3070), so that it is not used",
            "take nodes with kernel 5.8 or later, for which the driver is in Falco's image; or install the module",
        )
    yield from fetchers.wrong_plugins(site)


def takes_falco_artifacts(site: Site) -> bool:
    """Whether falcoctl installs from the site: an index for the inside is carried, and isthmus.yaml wants it."""
    return site.config.site.ck8s.falco_artifacts and bool(fetchers.falco_index(site))


def _trivy(site: Site) -> Iterator[Setting]:
    yield common("trivy.scanner.offlineScanEnabled", True)
    for name, key in ((fetchers.VULNERABILITIES, "db"), (fetchers.JAVA, "javaDb")):
        yield common(f"trivy.scanner.{key}Registry", site.registry_host)
        yield common(f"trivy.scanner.{key}Repository", fetchers.database(site, name))
    yield common("trivy.scanner.dbRepositoryInsecure", site.is_plain or site.skip_verify)
    why = "Trivy reads the images that it scans itself: every upstream host, by what the site's registry calls it."
    yield common("trivy.scanner.registry.mirror", fetchers.registry_mirrors(site), why)
    if site.config.site.registry.pull_secret:
        yield common("trivy.scanner.imagePullSecret.name", site.config.site.registry.pull_secret)


def _harbor(site: Site) -> Iterator[Setting]:
    base = site.registry_host
    variables: dict[str, str] = {
        "SCANNER_TRIVY_DB_REPOSITORY": f"{base}/{fetchers.database(site, fetchers.VULNERABILITIES)}",
        "SCANNER_TRIVY_JAVA_DB_REPOSITORY": f"{base}/{fetchers.database(site, fetchers.JAVA)}",
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
    yield common("falco.driver.kind", fetchers.falco_driver(site))
    wanted = takes_falco_artifacts(site)
    why = "" if wanted else "The rules in Falco's image are used; falcoctl would ask GitHub."
    yield common("falco.artifact.install.enabled", wanted, why)
    if wanted:
        yield common("falco.customIndexes", [{"name": "site", "url": fetchers.falco_index(site)}])
