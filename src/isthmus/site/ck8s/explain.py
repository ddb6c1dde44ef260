"""What to write for a value of Compliant Kubernetes that is still open: the key of isthmus.yaml that fills it.

Not here: finding such values (`placeholders`, `schema`).
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

_FROM_ISTHMUS: Mapping[str, str] = {
    ".global.baseDomain": "site.ck8s.base_domain",
    ".global.opsDomain": "site.ck8s.ops_domain",
    ".global.issuer": "site.domain (the issuer is site.pki.issuer)",
    ".alerts.*": "site.alerts.receivers",
    ".clusterAdmin.*": "site.ck8s.admins.users",
    ".grafana.*.oidc.allowedDomains*": "site.ck8s.admins.domains",
    ".harbor.oidc.adminGroupName": "site.ck8s.admins.groups",
    ".opensearch.extraRoleMappings*": "site.ck8s.admins.users",
    ".opensearch.plugins.*": "the plugin in platform.add, and site.files.host",
    ".trivy.scanner.*": "site.registry.host",
    ".user.namespaces*": "site.ck8s.developers.namespaces",
    ".user.admin*": "site.ck8s.developers.users and .groups",
    ".opa.imageRegistry.URL*": "site.ck8s.base_domain",
    ".objectStorage.*": "site.object_storage",
    ".networkPolicies.global.objectStorage.*": "site.object_storage.endpoint and .addresses",
    ".networkPolicies.global.scIngress*": "site.clusters.service.ingress",
    ".networkPolicies.global.wcIngress*": "site.clusters.workload.ingress",
    ".networkPolicies.global.scApiserver*": "site.clusters.service.control_plane",
    ".networkPolicies.global.wcApiserver*": "site.clusters.workload.control_plane",
    ".networkPolicies.global.scNodes*": "site.clusters.service.nodes",
    ".networkPolicies.global.wcNodes*": "site.clusters.workload.nodes",
    ".networkPolicies.global.trivy*": "site.registry.addresses",
    ".networkPolicies.harbor.*": "site.registry.addresses",
    ".networkPolicies.kyverno.*": "site.registry.addresses",
    ".networkPolicies.crossplane.*": "site.registry.addresses",
    ".networkPolicies.falco.*": "site.files.address",
    ".networkPolicies.opensearch.*": "site.files.address",
    ".networkPolicies.alertmanager.*": "the addresses of site.alerts.receivers",
    ".networkPolicies.coredns.externalDns*": "site.dns.servers",
    ".networkPolicies.dex.*": "site.identity.addresses",
}


def what_to_write(key: str, file: str) -> str:
    """Which key of isthmus.yaml gives it; or that it can be given as it is."""
    for pattern, source in _FROM_ISTHMUS.items():
        if fnmatchcase(key, pattern):
            return f"give {source} in isthmus.yaml"
    return f"give the value under site.ck8s.values.{file} in isthmus.yaml"
