"""Cluster API: patches that put containerd's hosts.toml, the CA and the time server on every machine it makes.

For the kubeadm bootstrap and control plane providers (bootstrap.cluster.x-k8s.io/v1beta1). Not here: whole
clusters.
"""

from typing import Any

from isthmus.site import containerd
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import yaml_text

_CA = "/usr/local/share/ca-certificates/isthmus-site.crt"


def configure(site: Site) -> Part:
    """`cluster-api/control-plane-patch.yaml` and `cluster-api/workers-patch.yaml`."""
    settings = _settings(site)
    control_plane = {
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
        "kind": "KubeadmControlPlane",
        "metadata": {"name": "NAME"},
        "spec": {"kubeadmConfigSpec": settings},
    }
    workers = {
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta1",
        "kind": "KubeadmConfigTemplate",
        "metadata": {"name": "NAME"},
        "spec": {"template": {"spec": settings}},
    }
    how = "A patch for kustomize or kubectl patch --type merge; put your own name for NAME."
    return Part(
        (
            OutputFile("cluster-api/control-plane-patch.yaml", yaml_text(control_plane, how).encode()),
            OutputFile("cluster-api/workers-patch.yaml", yaml_text(workers, how).encode()),
        )
    )


def _settings(site: Site) -> dict[str, Any]:
    files = [
        {
            "path": "/etc/containerd/" + file.path.removeprefix("containerd/"),
            "owner": "root:root",
            "permissions": "0644",
            "content": file.content.decode(),
        }
        for file in containerd.configure(site).files
        if file.path.startswith("containerd/certs.d/")
    ]
    commands = []
    if site.ca is not None:
        files.append({"path": _CA, "owner": "root:root", "permissions": "0644", "content": site.ca.decode()})
        commands.append("update-ca-certificates")
    settings: dict[str, Any] = {"files": files}
    if commands:
        settings["preKubeadmCommands"] = commands
    if site.config.site.ntp.servers:
        settings["ntp"] = {"enabled": True, "servers": list(site.config.site.ntp.servers)}
    return settings
