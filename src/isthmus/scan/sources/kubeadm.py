"""`kubeadm:VERSION[?arch=amd64]`: the images of a control plane that kubeadm sets up.

Not here: the table of versions (`scan.kubeadm`), and what is installed afterwards.
"""

from collections.abc import Iterator

from isthmus.inventory.model import Finding, Ref
from isthmus.scan.kubeadm.table import Table, load
from isthmus.scan.source import SourceSpec

RULE = "kubeadm-images"
REGISTRY = "registry.k8s.io"
PAUSE_NOTE = "the container runtime must be set to the same pause image, or it pulls its own"


def read(spec: SourceSpec) -> Iterator[Ref]:
    """The images of the version; raises UsageError (`invalid-source`) for one that the table does not know."""
    spec.allow("arch")
    table = load()
    version, row = table.find(spec.value)
    platforms = tuple(f"linux/{name}" for name in spec.many("arch"))
    parts = [(name, f"v{version}", "") for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")]
    parts += [("kube-proxy", f"v{version}", ""), ("coredns/coredns", row.coredns, "")]
    parts += [("pause", row.pause, PAUSE_NOTE), ("etcd", row.etcd, "")]
    for name, tag, note in parts:
        yield _reference(table, version, f"{REGISTRY}/{name}:{tag}", note, platforms)


def _reference(table: Table, version: str, name: str, note: str, platforms: tuple[str, ...]) -> Ref:
    finding = Finding(source=f"kubeadm:{version}", object=table.source, rule=RULE, note=note)
    return Ref("image", name, as_written=(name,), platforms=platforms, findings=(finding,))
