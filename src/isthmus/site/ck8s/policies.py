"""Settings of the NetworkPolicies: what `ck8s update-ips` fills, and the many that it never does.

`update-ips` asks name servers and clusters from the administrator's machine, which an air gap does not allow,
and writes 0.0.0.0/32 with status 0 where it gets no answer. Here everything comes from isthmus.yaml. Not here:
policies outside Compliant Kubernetes.
"""

from collections.abc import Iterator

from isthmus.inventory.site_config import ClusterSection
from isthmus.site.addresses import Server, cidrs, collapsed, servers
from isthmus.site.ck8s.programs import takes_falco_artifacts
from isthmus.site.ck8s.setting import CLOSED, Setting, common, service, workload
from isthmus.site.plan import Decision, Site

_WEB = [443]
_TRIVY_PORTS = (80, 443)


def settings(site: Site) -> Iterator[Setting]:
    """All that follow from where the site's servers are."""
    yield from _clusters(site)
    yield from _registry(site)
    yield from _files(site)
    yield from _others(site)


def decisions(site: Site) -> Iterator[Decision]:
    """Clusters without addresses, and ports that templates have fixed."""
    acme = _server(site, "acme")
    if acme is not None and acme.port not in _WEB:
        why = f"the rule that lets cert-manager reach the ACME server allows port 443 alone, not {acme.port}"
        yield Decision("site.pki.acme.directory", why, "let it answer on 443")
    for name in ("service", "workload"):
        cluster = site.config.site.clusters.get(name, ClusterSection())
        for field in ("nodes", "control_plane", "ingress"):
            if not getattr(cluster, field):
                why = f"the NetworkPolicies name the {field.replace('_', ' ')} of the {name} cluster"
                yield Decision(f"site.clusters.{name}.{field}", why, "their addresses, or networks")
    registry = _server(site, "registry")
    if registry is not None and registry.port not in _TRIVY_PORTS:
        yield Decision(
            "site.registry.host",
            f"the rule that lets Trivy reach the registry allows ports 80 and 443 alone, not {registry.port}",
            "let the registry answer on 443 as well; networkPolicies.additional is written meanwhile",
        )


def _clusters(site: Site) -> Iterator[Setting]:
    clusters = site.config.site.clusters
    for name, short, make in (("service", "sc", service), ("workload", "wc", workload)):
        cluster = clusters.get(name)
        if cluster is None:
            continue
        if cluster.ingress:
            yield common(f"networkPolicies.global.{short}Ingress.ips", list(cidrs(cluster.ingress)))
        if cluster.control_plane:
            yield make(f"networkPolicies.global.{short}Apiserver.ips", list(cidrs(cluster.control_plane)))
            yield make(f"networkPolicies.global.{short}Apiserver.port", cluster.api_port)
        if cluster.nodes or cluster.control_plane:
            nodes = collapsed((*cluster.nodes, *cluster.control_plane))
            yield make(f"networkPolicies.global.{short}Nodes.ips", list(nodes))


def _registry(site: Site) -> Iterator[Setting]:
    registry = _server(site, "registry")
    if registry is None or not registry.networks:
        return
    networks, ports = list(registry.networks), [registry.port]
    yield common("networkPolicies.global.trivy.ips", networks, "The registry, which has Trivy's databases.")
    yield common("networkPolicies.global.trivy.port", registry.port)
    if registry.port not in _TRIVY_PORTS:
        yield common("networkPolicies.additional", _trivy_policy(registry), "Trivy's own rule has fixed ports.")
    yield from _rule("common", "crossplane.packageRegistry", networks, ports)
    yield from _rule("common", "kyverno.imageRegistry", networks, ports)
    for name in ("registries", "jobservice", "trivy"):
        yield from _rule("sc", f"harbor.{name}", networks, ports)


def _files(site: Site) -> Iterator[Setting]:
    files = _server(site, "files")
    registry = _server(site, "registry")
    if files is not None and files.networks:
        yield from _rule("sc", "opensearch.plugins", list(files.networks), [files.port])
    else:
        yield from _rule("sc", "opensearch.plugins", list(CLOSED), _WEB)
    wanted = [server for server in (files, registry) if server is not None and server.networks]
    if takes_falco_artifacts(site) and wanted:
        networks = cidrs(network for server in wanted for network in server.networks)
        ports = sorted({server.port for server in wanted})
        yield from _rule("common", "falco.plugins", list(networks), ports)
    else:
        yield from _rule("common", "falco.plugins", list(CLOSED), _WEB, "Nothing is downloaded.")


def _others(site: Site) -> Iterator[Setting]:
    acme = _server(site, "acme")
    if acme is not None and acme.networks:
        yield common("networkPolicies.certManager.letsencrypt.ips", list(acme.networks), "The site's ACME server.")
    else:
        yield common("networkPolicies.certManager.letsencrypt.ips", [], "No ACME server on the Internet.")
    storage = _server(site, "object-storage")
    if storage is not None and storage.networks:
        yield from _rule("common", "global.objectStorage", list(storage.networks), [storage.port])
    elif storage is None:
        yield from _rule("common", "global.objectStorage", list(CLOSED), _WEB, "There is no object storage.")
    dns = [network for server in servers(site) if server.what == "dns" for network in server.networks]
    if dns:
        yield common("networkPolicies.coredns.externalDns.ips", list(cidrs(dns)))
    alerts = [server for server in servers(site) if server.what.startswith("alerts-") and server.networks]
    if alerts:
        networks = cidrs(network for server in alerts for network in server.networks)
        yield from _rule("common", "alertmanager.alertReceivers", list(networks), sorted({s.port for s in alerts}))
    identity = _server(site, "identity")
    if identity is not None and identity.networks:
        yield from _rule("sc", "dex.connectors", list(identity.networks), [identity.port])
    elif identity is None:
        yield from _rule("sc", "dex.connectors", list(CLOSED), _WEB, "There is no identity provider besides Dex.")
    dashboards = "monitoring.grafana.externalDashboardProvider"
    yield from _rule("sc", dashboards, list(CLOSED), _WEB, "No dashboards from grafana.com.")


def _rule(file: str, path: str, networks: list[str], ports: list[int], why: str = "") -> Iterator[Setting]:
    make = {"common": common, "sc": service}[file]
    yield make(f"networkPolicies.{path}.ips", networks, why)
    yield make(f"networkPolicies.{path}.ports", ports)


def _server(site: Site, what: str) -> Server | None:
    return next((server for server in servers(site) if server.what == what), None)


def _trivy_policy(registry: Server) -> str:
    blocks = "".join(f"        - ipBlock: {{cidr: {network}}}\n" for network in registry.networks)
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        "metadata: {name: site-trivy-registry, namespace: monitoring}\nspec:\n"
        "  podSelector:\n    matchExpressions:\n"
        "      - {key: vulnerabilityReport.scanner, operator: In, values: [Trivy]}\n"
        f"  policyTypes: [Egress]\n  egress:\n    - to:\n{blocks}"
        f"      ports: [{{protocol: TCP, port: {registry.port}}}]\n"
    )
