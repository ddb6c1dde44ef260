"""Turns listed objects into documents: what the cluster added to them is taken away again.

Not here: listing them (`client`), and rules.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.scan.cluster.discovery import Kind
from isthmus.scan.cluster.running import is_static
from isthmus.scan.document import Document, list_at, mapping_at

_NOISE = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")


def document(item: Mapping[str, Any], kind: Kind, label: str) -> Document | None:
    """The object as somebody has written it; None for one that another object in the cluster stands for."""
    metadata = dict(mapping_at(item, "metadata"))
    if kind.kind == "ReplicaSet" and any(o.get("controller") for o in list_at(metadata, "ownerReferences")):
        return None  # its deployment has the same template, and old ones are of the past
    metadata.pop("managedFields", None)
    annotations = {key: value for key, value in mapping_at(metadata, "annotations").items() if key not in _NOISE}
    metadata["annotations"] = annotations
    note = "static pod" if kind.kind == "Pod" and is_static(metadata) else ""
    data = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        **{key: value for key, value in item.items() if key not in {"apiVersion", "kind", "metadata", "status"}},
        "metadata": metadata,
    }
    return Document(label, data, note=note)
