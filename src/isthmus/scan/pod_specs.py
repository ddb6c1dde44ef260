"""Where pod specifications are in an object: in the kinds that Kubernetes runs, and embedded in others.

Not here: what is read from them (`rules/pods`, `rules/arguments`…).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from isthmus.scan.document import Document
from isthmus.scan.paths import index_path, key_path

_TEMPLATE = ("spec", "template", "spec")
_PATHS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "ReplicationController"): _TEMPLATE,
    ("", "PodTemplate"): ("template", "spec"),
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("extensions", "Deployment"): _TEMPLATE,
    ("extensions", "DaemonSet"): _TEMPLATE,
    ("extensions", "ReplicaSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
}
_MAX_DEPTH = 60


class PodSpec(msgspec.Struct, frozen=True):
    """A pod specification and the path to it; `certain` where Kubernetes itself runs the object.

    `parent` is what holds it as its `spec`, with the pod's metadata, unless that is the object itself.
    """

    path: str
    data: Mapping[str, Any]
    certain: bool = True
    parent: Mapping[str, Any] | None = None


def pod_specs(document: Document) -> Iterator[PodSpec]:
    """Every pod specification of the object.

    A custom resource has them where a mapping holds `containers` or `initContainers` with images in them.
    """
    keys = _PATHS.get((document.group, document.kind))
    if keys is None:
        if document.kind not in ("CustomResourceDefinition", "ConfigMap", "Secret"):
            yield from _embedded(document.data, "", 0, None)
        return
    data, path, parent = document.data, "", None
    for key in keys:
        parent, data = data, data.get(key) if isinstance(data, dict) else None
        path = key_path(path, key)
    if isinstance(data, dict):
        yield PodSpec(path, data, parent=parent if len(keys) > 1 else None)


def is_workload(group: str, kind: str) -> bool:
    """Whether Kubernetes itself makes pods of objects of this kind."""
    return (group, kind) in _PATHS


def _embedded(data: Any, path: str, depth: int, parent: Mapping[str, Any] | None) -> Iterator[PodSpec]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(data, dict):
        if any(_has_images(data.get(name)) for name in ("containers", "initContainers")):
            yield PodSpec(path, data, certain=False, parent=parent if depth > 1 else None)
            return
        for key, value in data.items():
            if isinstance(value, dict | list):
                yield from _embedded(value, key_path(path, key), depth + 1, data)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            if isinstance(value, dict | list):
                yield from _embedded(value, index_path(path, index), depth + 1, None)


def _has_images(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(item, dict) and isinstance(item.get("image"), str) for item in value
    )
