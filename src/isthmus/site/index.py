"""`README.md` beside the parts: what each is for, how it gets to its place, which ones the site's nodes need.

It is of all parts, and of what is still to decide. Not here: running any part (`parts`).
"""

from collections.abc import Iterable, Mapping

from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import HEADING

_ON_EACH_NODE = "on each node: `sh install.sh`, before that with `--dry-run`; `--undo` takes it back"
_NODES = {
    "containerd": ("the registry for containerd", f"{_ON_EACH_NODE}; with users also `credentials.sh FILE`"),
    "crio": ("the registry for CRI-O and Podman", _ON_EACH_NODE),
    "k3s": ("the registry for k3s", _ON_EACH_NODE),
    "rke2": ("the registry for RKE2", _ON_EACH_NODE),
    "docker": ("the registry for Docker, which mirrors docker.io only", _ON_EACH_NODE),
    "talos": (
        "the registry, CA and time for Talos",
        "`talosctl patch mc --patch @FILE`; the documents from 1.12 on",
    ),
    "openshift": ("mirror sets and the CA for OpenShift", "`oc apply -f`"),
    "cluster-api": ("containerd's settings in machines of Cluster API", "merge the patches into your templates"),
    "kubespray": (
        "containerd's settings, repositories and time in kubespray",
        "into the inventory's `group_vars/all`",
    ),
}
_SITE = {
    "trust": ("the site's CA for nodes and containers", f"{_ON_EACH_NODE}; `kubectl apply -f kubernetes.yaml`"),
    "cert-manager": ("certificates by the site's CA", "`create-secret.sh PKI`; `kubectl apply -f issuer.yaml`"),
    "dns": ("the site's names, for one of three name servers", "the file of yours to its name server"),
    "ntp": ("the site's time", "`server.conf` to the server, `install.sh` on each node"),
    "firewall": ("what may pass", "`nft -f site.nft`, or `flows.md` to the people of the network"),
    "network-policies": ("egress to the site's servers", "`kubectl apply -f egress.yaml`, where all is refused"),
    "object-storage": ("the endpoint of object storage", "`check.sh` says whether it answers"),
    "alerts": ("who is told, and rules for what becomes stale", "into Alertmanager and Prometheus"),
    "helm-values": ("what fetches things for itself", "`helm upgrade -f FILE`"),
    "serve": ("the site's server as a service", "to `/etc/systemd/system`"),
    "ck8s": ("Compliant Kubernetes", "over `CK8S_CONFIG_PATH`; the scripts make Secrets"),
}  # fmt: skip
_RUNTIMES = {"containerd": ("containerd", "kubespray", "cluster-api"), "docker": ("docker",)}


def configure(site: Site, parts: Mapping[str, Part]) -> Part:
    """The README for what the other parts gave."""
    directories = _directories(parts.values())
    runtime = site.config.site.nodes.runtime
    chosen = _RUNTIMES.get(runtime, (runtime,))
    here = [name for name in _NODES if name in chosen and name in directories]
    others = [name for name in _NODES if name not in chosen and name in directories]
    lines = [
        f"<!-- {HEADING} -->",
        f"# {site.config.site.domain or site.registry_host}",
        "",
        f"What this site has to be told. The registry is {site.registry}.",
        "",
        "## Nodes",
        f"`site.nodes.runtime` is {runtime}"
        + (": take the one of these by which the nodes are made." if len(here) > 1 else ":"),
        "",
        *_table(_NODES, here),
        "",
        f"For other runtimes, and not needed for {runtime}: {', '.join(f'`{name}/`' for name in others)}.",
        "",
        "## Site and clusters",
        *_table(_SITE, [name for name in _SITE if name in directories]),
        "",
        *_decisions([decision for part in parts.values() for decision in part.decisions]),
    ]
    return Part((OutputFile("README.md", ("\n".join(lines).rstrip() + "\n").encode()),))


def _directories(parts: Iterable[Part]) -> set[str]:
    return {file.path.partition("/")[0] for part in parts for file in part.files}


def _table(known: Mapping[str, tuple[str, str]], names: Iterable[str]) -> list[str]:
    rows = [f"| [{name}/]({name}/) | {known[name][0]} | {known[name][1]} |" for name in names]
    return ["| directory | what | how |", "|---|---|---|", *rows] if rows else ["Nothing was written."]


def _decisions(decisions: Iterable[Decision]) -> list[str]:
    lines = [f"- {decision}" for decision in decisions]
    return ["## Still to decide", *lines] if lines else ["Nothing is left to decide."]
