"""`alerts/isthmus-rules.yaml`, the scrape of `isthmus serve` that it needs, and both as manifests.

The rules themselves are `content.alerts`, beside the numbers that they look at. Not here: who is told (`part`).
"""

from typing import Any

import yaml

from isthmus.content.alerts import staleness_rules
from isthmus.site.output import OutputFile
from isthmus.site.plan import Site
from isthmus.site.text import heading, without_empty, yaml_documents, yaml_text

_NAMESPACE = "monitoring"
_RELEASE = "kube-prometheus-stack"
_JOB = "isthmus"


def becomes_stale(site: Site) -> bool:
    """Whether anything of the lock has an age that matters."""
    return any(entry.max_age for entry in site.entries)


def freshness_files(site: Site) -> tuple[OutputFile, ...]:
    """The rules, the scrape where its target is known, and manifests for Prometheus' operator."""
    rules = (
        heading("promtool check rules isthmus-rules.yaml; for rule_files of prometheus.yml.") + staleness_rules()
    )
    files = [OutputFile("alerts/isthmus-rules.yaml", rules.encode())]
    manifests = [_manifest("PrometheusRule", "v1", yaml.safe_load(rules))]
    how = [
        "kubectl apply -f prometheus-operator.yaml. The chart's Prometheus takes what has the label release,",
        f"with the name of its own; here that is {_RELEASE}.",
    ]
    if _is_served(site):
        text = yaml_text(
            {"scrape_configs": [_scrape(site)]},
            "For scrape_config_files of prometheus.yml, or from 2.42 down for its scrape_configs.",
            "The machine trusts the site's CA by trust/install.sh.",
        )
        files.append(OutputFile("alerts/isthmus-scrape.yaml", text.encode()))
        manifests.append(_manifest("ScrapeConfig", "v1alpha1", _operator_scrape(site)))
        if _own_ca(site):
            how.append("The ConfigMap site-ca is the one of trust/kubernetes.yaml, in this namespace.")
    else:
        how.append("Let Prometheus scrape `isthmus serve` as well: Harbor knows nothing of ages.")
    files.append(OutputFile("alerts/prometheus-operator.yaml", yaml_documents(manifests, *how).encode()))
    return tuple(files)


def _is_served(site: Site) -> bool:
    """Whether the registry is `isthmus serve`, as far as isthmus.yaml says; its /metrics has the ages."""
    return site.config.site.registry.kind != "harbor"


def _own_ca(site: Site) -> bool:
    return site.ca is not None and not site.is_plain and not site.skip_verify


def _scrape(site: Site) -> dict[str, Any]:
    return without_empty(
        {
            "job_name": _JOB,
            "scheme": "http" if site.is_plain else "https",
            "tls_config": {"insecure_skip_verify": True} if site.skip_verify else {},
            "static_configs": [{"targets": [site.registry_host]}],
        }
    )


def _operator_scrape(site: Site) -> dict[str, Any]:
    trust: dict[str, Any] = {}
    if site.skip_verify:
        trust = {"insecureSkipVerify": True}
    elif _own_ca(site):
        trust = {"ca": {"configMap": {"name": "site-ca", "key": "ca.crt"}}}
    return without_empty(
        {
            "jobName": _JOB,
            "scheme": "HTTP" if site.is_plain else "HTTPS",
            "tlsConfig": trust,
            "staticConfigs": [{"targets": [site.registry_host]}],
        }
    )


def _manifest(kind: str, version: str, spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"monitoring.coreos.com/{version}",
        "kind": kind,
        "metadata": {"name": "isthmus-freshness", "namespace": _NAMESPACE, "labels": {"release": _RELEASE}},
        "spec": spec,
    }
