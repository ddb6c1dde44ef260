"""Kubespray's variables: the mirrors of every upstream host, image and file repositories, DNS and time.

Written for kubespray's `group_vars` (docs/operations/offline-environment.md and contrib/offline there). Every
mirror has `server` set to the site, because kubespray otherwise writes the upstream's own address there, and
containerd asks it after a miss. Credentials are read from the environment of who runs Ansible, never written.
Not here: an inventory of whole clusters.
"""

import ipaddress
from typing import Any

from isthmus.site.names import moved_decision, moved_names
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import yaml_text

# Which variable names the repository of which host (roles/kubespray_defaults/defaults/main/download.yml).
_IMAGE_REPOSITORIES = {
    "registry.k8s.io": "kube_image_repo",
    "gcr.io": "gcr_image_repo",
    "ghcr.io": "github_image_repo",
    "docker.io": "docker_image_repo",
    "quay.io": "quay_image_repo",
}
_CREDENTIALS = ("lookup('env', 'SITE_REGISTRY_USER')", "lookup('env', 'SITE_REGISTRY_PASSWORD')")
_FILE_SERVERS = {
    "github.com": "github_url",
    "dl.k8s.io": "dl_k8s_io_url",
    "storage.googleapis.com": "storage_googleapis_url",
    "get.helm.sh": "get_helm_url",
}


def configure(site: Site) -> Part:
    """`kubespray/group_vars/all/isthmus.yml` and an inventory fragment with the addresses that are known."""
    comments = (
        "group_vars/all of a kubespray inventory. Image names inside are those of the mapping; files keep the",
        "path that they have upstream, below the upstream's host.",
        *_what_kubespray_leaves_out(site),
    )
    files = [
        OutputFile("kubespray/group_vars/all/isthmus.yml", yaml_text(variables(site), *comments).encode()),
    ]
    inventory = _inventory(site)
    if inventory:
        text = yaml_text(inventory, "A fragment for an Ansible inventory: the nodes of isthmus.yaml.")
        files.append(OutputFile("kubespray/inventory-fragment.yml", text.encode()))
    return Part(tuple(files), (*_decisions(site), *moved_decision(site, "containerd")))


def _what_kubespray_leaves_out(site: Site) -> tuple[str, ...]:
    """Its hosts.toml.j2 gives `server`, which is asked after a miss, neither a CA nor credentials."""
    lines: tuple[str, ...] = ()
    if not site.is_plain and not site.skip_verify and (site.ca is not None or site.ca_path):
        lines = (
            "Let the nodes trust the site's CA before (trust/install.sh): its hosts.toml has none for `server`.",
        )
    if site.config.site.registry.pull_secret:
        lines += (
            "It gives `server` no password either: containerd may say `unauthorized` of what was not carried. Run",
            "containerd/install.sh and credentials.sh after kubespray for files that say `not found`.",
        )
    return lines


def variables(site: Site) -> dict[str, Any]:
    """All variables, in the order in which people read them."""
    values: dict[str, Any] = {
        "registry_addr": site.registry_host,
        "registry_host": site.registry,
        "registry_insecure": site.is_plain or site.skip_verify,
    }
    for host, variable in _IMAGE_REPOSITORIES.items():
        prefix = site.mapping.host_prefix(host)
        values[variable] = "{{ registry_addr }}/" + prefix if prefix else "{{ registry_addr }}"
    moved = {f"{ref.host}/{ref.path}": ref for ref in moved_names(site)}
    pause = moved.get("registry.k8s.io/pause")
    values["pod_infra_image_repo"] = (
        "{{ registry_addr }}/" + site.mapping.repository(pause) if pause else "{{ kube_image_repo }}/pause"
    )
    values["containerd_registries_mirrors"] = _mirrors(site)
    if site.files_url:
        values["files_repo"] = site.files_url
        for host, variable in _FILE_SERVERS.items():
            values[variable] = "{{ files_repo }}/" + host
    values |= _packages(site)
    if site.config.site.dns.servers:
        values["upstream_dns_servers"] = list(site.config.site.dns.servers)
    servers = site.config.site.ntp.servers
    if servers:
        values |= {
            "ntp_enabled": True,
            "ntp_manage_config": True,
            "ntp_servers": [f"{server} iburst" for server in servers],
        }
    return values


def _mirrors(site: Site) -> list[dict[str, Any]]:
    registry = {"prefix": "{{ registry_addr }}", "server": "{{ registry_host }}"}
    mirrors = [{**registry, "mirrors": [_mirror(site, "{{ registry_host }}", override=False)]}]
    for host in site.hosts:
        prefix = site.mapping.host_prefix(host)
        url = "{{ registry_host }}/v2/" + prefix if prefix else "{{ registry_host }}"
        mirrors.append(
            {
                "prefix": host,
                "server": "{{ registry_host }}",
                "mirrors": [_mirror(site, url, override=bool(prefix))],
            }
        )
    return mirrors


def _mirror(site: Site, url: str, *, override: bool) -> dict[str, Any]:
    mirror: dict[str, Any] = {"host": url, "capabilities": ["pull", "resolve"], "skip_verify": site.skip_verify}
    if override:
        mirror["override_path"] = True
    if site.ca_path and not site.is_plain:
        mirror["ca"] = site.ca_path
    if site.config.site.registry.pull_secret:
        # containerd 2 takes it here; 1.7 reads containerd_registry_auth of the same user and password.
        mirror["header"] = {"Authorization": ["Basic {{ (" + " ~ ':' ~ ".join(_CREDENTIALS) + ") | b64encode }}"]}
    return mirror


def _packages(site: Site) -> dict[str, Any]:
    """The distributions' repositories, where the lock carries packages."""
    if not site.files_url or not any(entry.kind == "packages" for entry in site.entries):
        return {}
    base = "{{ files_repo }}/packages"
    return {"debian_repo": f"{base}/debian", "ubuntu_repo": f"{base}/ubuntu", "yum_repo": f"{base}/rpm"}


def _decisions(site: Site) -> tuple[Decision, ...]:
    files = [entry for entry in site.entries if entry.kind == "file"]
    if site.files_url or not files:
        return ()
    why = f"kubespray has no place to fetch {len(files)} files of the lock from, the first is {files[0].name}"
    return (Decision("site.files.host", why, "the site's file server, with its port"),)


def _inventory(site: Site) -> dict[str, Any]:
    hosts: dict[str, Any] = {}
    control_plane: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    for name, cluster in sorted(site.config.site.clusters.items()):
        members = [text for text in (*cluster.control_plane, *cluster.nodes) if _is_address(text)]
        for number, address in enumerate(dict.fromkeys(members), start=1):
            host = f"{name}-{number}"
            hosts[host] = {"ansible_host": address, "ip": address}
            group = control_plane if address in cluster.control_plane else nodes
            group[host] = None
    if not hosts:
        return {}
    groups = {"kube_control_plane": {"hosts": control_plane}, "kube_node": {"hosts": nodes}}
    return {"all": {"hosts": hosts, "children": {key: value for key, value in groups.items() if value["hosts"]}}}


def _is_address(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.num_addresses == 1
