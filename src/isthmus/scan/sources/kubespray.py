"""`kubespray:CHECKOUT[?inventory=I&arch=amd64&vars=FILE&all=true]`: what Kubespray would download.

The table that Kubespray's own download role goes through, for the versions that the checkout and the
inventory choose, evaluated without Ansible. Not here: how (`scan.kubespray`).
"""

import os
from collections.abc import Iterator
from typing import Any

from isthmus.errors import UsageError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.kubespray.downloads import downloads
from isthmus.scan.kubespray.templating import Variables
from isthmus.scan.kubespray.variables import load
from isthmus.scan.source import SourceSpec

OPTIONS = ("inventory", "arch", "vars", "all")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le"}


def read(spec: SourceSpec) -> Iterator[Ref | Item]:
    """Every image and file; each architecture is evaluated on its own, and every host that has variables.

    Raises UsageError (`invalid-source`, `file-not-found`, `wrong-usage` without Jinja2) or UnreachableError.
    """
    spec.allow(*OPTIONS)
    everything = spec.one("all", "false")
    if everything not in {"true", "false"}:
        raise UsageError("invalid-source", f"all is true or false, not {everything[:40]!r}", where=str(spec))
    label = f"kubespray:{os.path.basename(os.path.abspath(spec.value))}"
    layers = load(spec.value, spec.one("inventory"), spec.many("vars"), label)
    yield from layers.items
    for architecture in spec.many("arch") or ["amd64"]:
        if architecture not in MACHINES:
            raise UsageError(
                "invalid-source", f"Kubespray has no architecture {architecture[:40]!r}", where=str(spec)
            )
        for host in layers.hosts or {"": {}}:
            raw = layers.common | layers.hosts.get(host, {})
            variables = Variables(raw, _facts(architecture, host))
            yield from downloads(raw, variables, label, f"linux/{architecture}", everything == "true")


def _facts(architecture: str, host: str) -> dict[str, Any]:
    """What Ansible would learn from a machine, as far as names of downloads depend on it."""
    machine = MACHINES[architecture]
    name = host or "node"
    groups = ("all", "k8s_cluster", "kube_control_plane", "kube_node", "etcd")
    return {
        "ansible_facts": {
            "architecture": machine,
            "system": "Linux",
            "os_family": "Debian",
            "distribution": "Ubuntu",
        },
        "ansible_architecture": machine,
        "ansible_system": "Linux",
        "ansible_os_family": "Debian",
        "inventory_hostname": name,
        "groups": {group: [name] for group in groups},
        "group_names": list(groups[1:]),
    }
