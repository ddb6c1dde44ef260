"""Settings of the platform as a whole: domains, issuer, object storage, name servers, people.

Not here: single programs (`programs`), NetworkPolicies (`policies`), alerts (`receivers`).
"""

from collections.abc import Iterator
from typing import Any

from isthmus.scan.document import mapping_at, text_at
from isthmus.site.cert_manager import cluster_issuer
from isthmus.site.ck8s.setting import Setting, common, service, workload
from isthmus.site.dns.records import zones
from isthmus.site.plan import Site

LOCAL_ADDRESS = "169.254.20.10"
"""Where node-local-dns listens on every node; its chart has it fixed."""
_KUBESPRAY_DNS = "10.233.0.3"


def settings(site: Site, configuration: dict[str, Any]) -> Iterator[Setting]:
    """Everything that isthmus.yaml knows; `configuration` is the merged one of the service cluster, or empty."""
    section = site.config.site.ck8s
    if section.base_domain:
        yield common("global.baseDomain", section.base_domain)
    if section.ops_domain:
        yield common("global.opsDomain", section.ops_domain)
    yield from _issuer(site)
    yield from _object_storage(site)
    yield from _name_servers(site, configuration)
    yield from _people(site, configuration)
    if section.static_login:
        yield service("dex.enableStaticLogin", True, "A user without an identity provider, for a demonstration.")
    if section.base_domain:
        urls = [f"harbor.{section.base_domain}", "quay.io/jetstack/cert-manager-acmesolver"]
        yield workload(
            "opa.imageRegistry.URL", urls, "Names stay those of upstream; nodes pull them from the mirror."
        )


def _issuer(site: Site) -> Iterator[Setting]:
    if not site.config.site.domain:
        return
    yield common("global.issuer", site.config.site.pki.issuer)
    yield common("issuers.letsencrypt.enabled", False, "ACME servers on the Internet cannot be reached.")
    issuers = [cluster_issuer(site)]
    yield common("issuers.extraIssuers", issuers, "Its Secret is made by ck8s/add-issuer-secret.sh.")


def _object_storage(site: Site) -> Iterator[Setting]:
    section = site.config.site.object_storage
    if section.endpoint is None:
        return
    yield common("objectStorage.type", "s3")
    yield common("objectStorage.s3.region", section.region or "us-east-1")
    yield common("objectStorage.s3.regionEndpoint", section.endpoint)
    yield common("objectStorage.s3.forcePathStyle", section.path_style)


def _name_servers(site: Site, configuration: dict[str, Any]) -> Iterator[Setting]:
    servers = site.config.site.dns.servers
    domains = zones(site)
    if not servers or not domains:
        return
    cluster_dns = text_at(mapping_at(configuration, "global"), "clusterDns")
    binds = f"{LOCAL_ADDRESS} {cluster_dns if cluster_dns[:1].isdigit() else _KUBESPRAY_DNS}"
    blocks = [
        f"{domain}:53 {{\n"
        '    errors {\n      consolidate 5m ".* i/o timeout$" warning\n    }\n'
        f"    bind {binds}\n    forward . {' '.join(servers)}\n    loadbalance\n    cache 5\n    reload\n}}\n"
        for domain in domains
    ]
    yield common("nodeLocalDns.customConfig", "".join(blocks), "The site's names are asked of the site's servers.")


def _people(site: Site, configuration: dict[str, Any]) -> Iterator[Setting]:
    admins, developers = site.config.site.ck8s.admins, site.config.site.ck8s.developers
    if admins.users or admins.groups:
        yield common("clusterAdmin.users", list(admins.users))
        yield common("clusterAdmin.groups", list(admins.groups))
        yield service("harbor.oidc.adminGroupName", admins.groups[0] if admins.groups else "")
    if admins.users:
        mappings = mapping_at(configuration, "opensearch").get("extraRoleMappings")
        if isinstance(mappings, list):
            yield service("opensearch.extraRoleMappings", _filled(mappings, list(admins.users)))
    if admins.domains:
        for grafana in ("ops", "user"):
            yield service(f"grafana.{grafana}.oidc.allowedDomains", list(admins.domains))
    if developers.namespaces:
        yield workload("user.namespaces", list(developers.namespaces))
    if developers.users or developers.groups:
        yield workload("user.adminUsers", list(developers.users))
        yield workload("user.adminGroups", list(developers.groups))


def _filled(value: Any, people: list[str]) -> Any:
    """The same with people where a list begins with a placeholder."""
    if isinstance(value, dict):
        return {key: _filled(item, people) for key, item in value.items()}
    if isinstance(value, list):
        return people if value[:1] == ["set-me"] else [_filled(item, people) for item in value]
    return value
