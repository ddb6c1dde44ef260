"""`network-policies/`: Kubernetes NetworkPolicies that let the programs that need the site's servers reach them.

For clusters that refuse by default, outside Compliant Kubernetes, which has keys of its own for this (`ck8s`).
networking.k8s.io/v1. Not here: refusing everything else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from isthmus.site.addresses import Server, servers, without_address
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import yaml_documents


@dataclass(frozen=True)
class Consumer:
    """A program, the namespace and label that its chart gives it, and which servers it asks."""

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]


CONSUMERS = (
    Consumer(
        "trivy-operator",
        "trivy-system",
        (("app.kubernetes.io/managed-by", "trivy-operator"),),
        ("registry", "dns"),
    ),
    Consumer("falco", "falco", (("app.kubernetes.io/name", "falco"),), ("registry", "files", "dns")),
    Consumer(
        "opensearch", "opensearch", (("app.kubernetes.io/name", "opensearch"),), ("files", "object-storage", "dns")
    ),
    Consumer("harbor", "harbor", (("app", "harbor"),), ("registry", "object-storage", "identity", "dns")),
    Consumer("alertmanager", "monitoring", (("app.kubernetes.io/name", "alertmanager"),), ("alerts", "dns")),
    # It scrapes the ages of what is carried.
    Consumer("prometheus", "monitoring", (("app.kubernetes.io/name", "prometheus"),), ("registry", "dns")),
    Consumer("kyverno", "kyverno", (("app.kubernetes.io/part-of", "kyverno"),), ("registry", "dns")),
    Consumer("coredns", "kube-system", (("k8s-app", "kube-dns"),), ("dns",)),
    Consumer("velero", "velero", (("app.kubernetes.io/name", "velero"),), ("object-storage", "dns")),
)


def configure(site: Site) -> Part:
    """One policy a program that needs something of the site, in the namespace that its chart uses by default."""
    known = servers(site)
    policies = [policy for consumer in CONSUMERS if (policy := _policy(consumer, known)) is not None]
    if not policies:
        return Part(notes=("network-policies: not written, as isthmus.yaml names no address of the site",))
    how = ("kubectl apply -f egress.yaml, for the programs that run in the cluster; namespaces and labels are",
           "those of their charts.")  # fmt: skip
    text = yaml_documents(policies, *how)
    return Part((OutputFile("network-policies/egress.yaml", text.encode()),), without_address(site))


def _policy(consumer: Consumer, known: Iterable[Server]) -> dict[str, Any] | None:
    rules = [
        rule
        for server in known
        if server.what in consumer.needs or ("alerts" in consumer.needs and server.what.startswith("alerts-"))
        for rule in _rules(server)
    ]
    if not rules:
        return None
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"site-{consumer.name}", "namespace": consumer.namespace},
        "spec": {
            "podSelector": {"matchLabels": dict(consumer.labels)},
            "policyTypes": ["Egress"],
            "egress": rules,
        },
    }


def _rules(server: Server) -> list[dict[str, Any]]:
    if not server.networks:
        return []
    protocols = ("UDP", "TCP") if server.what == "dns" else (server.protocol.upper(),)
    return [
        {
            "to": [{"ipBlock": {"cidr": network}} for network in server.networks],
            "ports": [{"port": server.port, "protocol": protocol} for protocol in protocols],
        }
    ]
