"""Which kinds of objects a server has that may name something to carry, and where they are listed.

Workloads and configuration of Kubernetes itself, and every custom resource. Not here: reading them
(`objects`).
"""

from collections.abc import Iterator

import msgspec

from isthmus.scan.cluster.client import ApiClient, ApiError
from isthmus.scan.document import list_at, mapping_at, text_at

WANTED = {
    "": {"configmaps", "nodes", "pods", "podtemplates", "replicationcontrollers"},
    "apps": {"daemonsets", "deployments", "replicasets", "statefulsets"},
    "batch": {"cronjobs", "jobs"},
    "admissionregistration.k8s.io": {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
    "apiextensions.k8s.io": {"customresourcedefinitions"},
}
"""Of Kubernetes' own groups; the rest of them names nothing that is fetched."""
OWN_GROUPS = frozenset(
    {
        "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps",
        "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io",
        "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "extensions", "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io",
        "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
        "metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io",
    }
)  # fmt: skip
"""Groups of Kubernetes and of its metrics servers; all others are custom resources."""


class Kind(msgspec.Struct, frozen=True):
    """A kind that can be listed; `path` is its collection over all namespaces."""

    group: str
    version: str
    kind: str
    path: str

    @property
    def api_version(self) -> str:
        """As an object writes it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def title(self) -> str:
        """`Kind.group`, to be shown."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


class Refused(msgspec.Struct, frozen=True):
    """Something that the server did not tell."""

    what: str
    why: str
    status: int


def kinds(client: ApiClient) -> Iterator[Kind | Refused]:
    """Every kind that is wanted, each in the version that the server prefers; raises UnreachableError."""
    try:
        groups = [("", "v1"), *_groups(client)]
    except ApiError as error:
        yield Refused("the list of API groups", str(error), error.status)
        groups = [("", "v1")]
    for group, version in groups:
        if group in OWN_GROUPS and group not in WANTED:
            continue
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            resources = list_at(client.get(base), "resources")
        except ApiError as error:
            yield Refused(f"the API group {group or 'core'}", str(error), error.status)
            continue
        for resource in resources:
            name = text_at(resource, "name")
            if "/" in name or "list" not in list_at(resource, "verbs") or not text_at(resource, "kind"):
                continue
            if name in WANTED.get(group, {name}):
                yield Kind(group, version, text_at(resource, "kind"), f"{base}/{name}")


def _groups(client: ApiClient) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for group in list_at(client.get("/apis"), "groups"):
        version = text_at(mapping_at(group, "preferredVersion"), "version")
        if text_at(group, "name") and version:
            found.append((text_at(group, "name"), version))
    return sorted(found)
