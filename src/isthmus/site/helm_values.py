"""`helm-values/`: values for the charts of programs that fetch things for themselves.

Trivy Operator, Falco, OpenSearch and Harbor, by the keys of their own charts; only for what the lock has.
kube-prometheus-stack is in `alerts`, cert-manager in `cert-manager`. Not here: Compliant Kubernetes (`ck8s`).
"""

from collections.abc import Callable
from typing import Any

from isthmus.oci import Reference
from isthmus.site import fetchers
from isthmus.site.ck8s.composed import is_wanted
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import without_empty, yaml_text

_CHECKS = "trivy-checks"
_CONTAINER_PLUGIN = "plugins/plugin/container"


def configure(site: Site) -> Part:
    """One file a program that the lock has images of."""
    makers: dict[str, tuple[str, Callable[[Site], dict[str, Any]]]] = {
        "trivy-operator": ("trivy-operator", trivy_operator),
        "falco": ("falco", falco),
        "opensearch": ("opensearchproject/opensearch", opensearch),
        "harbor": ("goharbor/", harbor),
    }
    paths = [reference.path for reference in site.references]
    files = [
        OutputFile(f"helm-values/{name}.yaml", yaml_text(make(site), f"helm upgrade -f {name}.yaml …").encode())
        for name, (mark, make) in makers.items()
        if any(mark in path for path in paths)
    ]
    if not files:
        return Part(notes=("helm-values: not written, as the lock has none of the programs that need them",))
    return Part(tuple(files), () if is_wanted(site) else _decisions(site, paths))


def trivy_operator(site: Site) -> dict[str, Any]:
    """For aquasecurity's chart trivy-operator."""
    checks = _inside(site, _CHECKS)
    secret = site.config.site.registry.pull_secret
    return without_empty(
        {
            "operator": {"privateRegistryScanSecretsNames": {"trivy-system": secret}} if secret else {},
            "trivy": {
                "offlineScan": True,
                "dbRegistry": site.registry_host,
                "dbRepository": fetchers.database(site, fetchers.VULNERABILITIES),
                "dbRepositoryInsecure": site.is_plain or site.skip_verify,
                "javaDbRegistry": site.registry_host,
                "javaDbRepository": fetchers.database(site, fetchers.JAVA),
                "registry": {"mirror": fetchers.registry_mirrors(site)},
            },
            "policiesBundle": (
                {
                    "registry": site.registry_host,
                    "repository": site.mapping.repository(checks),
                    "tag": checks.tag,
                    "insecure": site.is_plain or site.skip_verify,
                }
                if checks
                else {}
            ),
        }
    )


def falco(site: Site) -> dict[str, Any]:
    """For falcosecurity's chart falco: rules from the site's index, or those of the image where there is none."""
    index = fetchers.falco_index(site)
    plugin = _inside(site, _CONTAINER_PLUGIN)
    artifact: dict[str, Any] = {"install": {"enabled": bool(index)}, "follow": {"enabled": False}}
    return without_empty(
        {
            "driver": {"kind": fetchers.falco_driver(site)},
            "falcoctl": without_empty(
                {
                    "artifact": artifact,
                    "config": {"indexes": [{"name": "site", "url": index}]} if index else {},
                }
            ),
            # Its full reference would not go through the index.
            "collectors": {"containerEngine": {"pluginRef": site.inside(plugin)}} if plugin else {},
        }
    )


def opensearch(site: Site) -> dict[str, Any]:
    """For OpenSearch's own chart."""
    plugins = fetchers.opensearch_plugins(site)
    return {"plugins": {"enabled": bool(plugins), "installList": list(plugins)}}


def harbor(site: Site) -> dict[str, Any]:
    """For Harbor's chart: its Trivy."""
    base = site.registry_host
    variables = {
        "SCANNER_TRIVY_DB_REPOSITORY": f"{base}/{fetchers.database(site, fetchers.VULNERABILITIES)}",
        "SCANNER_TRIVY_JAVA_DB_REPOSITORY": f"{base}/{fetchers.database(site, fetchers.JAVA)}",
    }
    return {
        "trivy": {
            "offlineScan": True,
            "insecure": site.is_plain or site.skip_verify,
            "extraEnvVars": [{"name": name, "value": value} for name, value in variables.items()],
        }
    }


def _decisions(site: Site, paths: list[str]) -> tuple[Decision, ...]:
    found = list(fetchers.wrong_plugins(site))
    if any("trivy" in path for path in paths):
        found += fetchers.missing_databases(site)
    return tuple(found)


def _inside(site: Site, mark: str) -> Reference | None:
    return next((ref for ref in site.references if ref.path.endswith(mark)), None)
