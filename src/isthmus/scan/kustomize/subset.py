"""Builds a kustomization without kustomize: the part of it that is known to come out the same.

Whatever else a kustomization uses that could change what is pulled is a RenderError, never a guess; names'
prefixes, labels and the like are followed as far as patches look for them. Not here: whether there is a
kustomize to do it (`build`).
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.helm.request import RenderError
from isthmus.scan.input import read_text
from isthmus.scan.kustomize.graph import kustomization_file
from isthmus.scan.kustomize.images import transform_images
from isthmus.scan.kustomize.patches import apply_operations, merge
from isthmus.scan.kustomize.resource import Resource, find
from isthmus.scan.yaml_reader import parse_all

KNOWN = frozenset(
    {
        "apiVersion", "kind", "metadata", "resources", "bases", "components", "images", "patches",
        "patchesStrategicMerge", "patchesJson6902", "namespace", "namePrefix", "nameSuffix", "commonLabels",
        "labels", "commonAnnotations", "configMapGenerator", "secretGenerator", "generatorOptions", "replicas",
        "buildMetadata", "sortOptions",
    }
)  # fmt: skip
_CLUSTER_WIDE = frozenset(
    {
        "APIService", "CSIDriver", "ClusterIssuer", "ClusterRole", "ClusterRoleBinding",
        "CustomResourceDefinition", "IngressClass", "MutatingWebhookConfiguration",
        "Namespace", "Node", "PersistentVolume", "PriorityClass",
        "RuntimeClass", "StorageClass", "ValidatingWebhookConfiguration",
    }
)  # fmt: skip


def build(directory: str) -> list[dict[str, Any]]:
    """The objects that the kustomization of a directory becomes.

    Raises RenderError where it uses what is not known here, or is wrong. The graph was walked before.
    """
    return [resource.data for resource in _accumulate(directory, [])]


def _accumulate(directory: str, resources: list[Resource]) -> list[Resource]:
    """What a directory adds to resources and changes in them; a component is given those of its user."""
    path = kustomization_file(directory, directory)
    data = mapping_at({"data": (_parsed(path) or [{}])[0]}, "data")
    unknown = sorted(key for key, value in data.items() if key not in KNOWN and value)
    if unknown:
        raise RenderError(f"{path} uses {', '.join(unknown)[:300]}, which needs kustomize itself")
    for key in ("resources", "bases"):
        for entry in list_at(data, key):
            resources.extend(_resources(os.path.join(directory, str(entry))))
    for entry in list_at(data, "components"):
        resources = _accumulate(os.path.join(directory, str(entry)), resources)
    resources.extend(_generated(directory, data))
    try:
        return _transformed(directory, data, resources)
    except RenderError as error:
        raise RenderError(f"{path}: {error.message}", error.hint) from error


def _resources(place: str) -> list[Resource]:
    if os.path.isdir(place):
        return _accumulate(place, [])
    if not os.path.isfile(place):
        raise RenderError(f"{place[:300]} is not on this machine, and only kustomize can bring it")
    found: list[Resource] = []
    for value in _parsed(place):
        items = list_at(value, "items") if text_at(value, "kind").endswith("List") else [value]
        for item in items:
            if (
                not isinstance(item, dict)
                or not text_at(item, "kind")
                or not text_at(mapping_at(item, "metadata"), "name")
            ):
                raise RenderError(f"{place} holds something that is no object with a kind and a name")
            found.append(Resource(item))
    return found


def _generated(directory: str, data: Mapping[str, Any]) -> Iterator[Resource]:
    """Config maps and secrets, without the hash that their names get; what is in them may name images."""
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for entry in list_at(data, key):
            if text_at(entry, "behavior") not in {"", "create"}:
                raise RenderError(f"a {key} that merges or replaces needs kustomize itself")
            content: dict[str, str] = {}
            for literal in list_at(entry, "literals"):
                name, _, value = str(literal).partition("=")
                content[name] = value.strip("'\"")
            for file in list_at(entry, "files"):
                name, equals, path = str(file).partition("=")
                content[name if equals else os.path.basename(name)] = _text(os.path.join(directory, path or name))
            for file in [*list_at(entry, "envs"), *([entry["env"]] if "env" in entry else [])]:
                content.update(_variables(_text(os.path.join(directory, str(file)))))
            field = "data" if kind == "ConfigMap" else "stringData"
            metadata = {"name": text_at(entry, "name"), "namespace": text_at(entry, "namespace") or None}
            yield Resource(
                {
                    "apiVersion": "v1",
                    "kind": kind,
                    "metadata": {name: value for name, value in metadata.items() if value},
                    field: content,
                }
            )


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            yield name, value


def _transformed(directory: str, data: Mapping[str, Any], resources: list[Resource]) -> list[Resource]:
    """The transformers in kustomize's order."""
    for entry in list_at(data, "patchesStrategicMerge"):
        text = str(entry)
        for patch in _patch(text if "\n" in text else _text(os.path.join(directory, text))):
            resources = _patched(resources, patch, {})
    for entry in list_at(data, "patches"):
        resources = _entry(directory, entry, resources)
    for resource in resources:
        _rename(resource, data)
    for entry in list_at(data, "patchesJson6902"):
        if not mapping_at(entry, "target"):
            raise RenderError("a patch of patchesJson6902 has no target")
        resources = _entry(directory, entry, resources)
    for resource in resources:
        transform_images(resource.data, list_at(data, "images"))
    return resources


def _entry(directory: str, entry: Any, resources: list[Resource]) -> list[Resource]:
    path = text_at(entry, "path")
    for patch in _patch(_text(os.path.join(directory, path)) if path else text_at(entry, "patch")):
        resources = _patched(resources, patch, mapping_at(entry, "target"))
    return resources


def _patch(text: str) -> list[Any]:
    try:
        return parse_all(text, "a patch")
    except IsthmusError as error:
        raise RenderError(f"a patch cannot be read: {error.message}") from error


def _patched(resources: list[Resource], patch: Any, target: Mapping[str, Any]) -> list[Resource]:
    if isinstance(patch, list) and not target:
        raise RenderError("a JSON patch has no target")
    if not target:
        chosen = [find(resources, patch)]
    else:
        chosen = [resource for resource in resources if resource.matches(target)]
    for resource in chosen:
        if isinstance(patch, list):
            resource.data = apply_operations(resource.data, patch)
        elif isinstance(patch, dict):
            merged = merge(resource.data, _without_identity(patch))
            if merged is None:
                resources = [other for other in resources if other is not resource]
            else:
                resource.data = merged
        else:
            raise RenderError("a patch is neither a mapping nor a list")
    return resources


def _without_identity(patch: Mapping[str, Any]) -> dict[str, Any]:
    """A patch's own kind and name say which object it is for, and do not change those that the object has now."""
    metadata = {
        key: value for key, value in mapping_at(patch, "metadata").items() if key not in {"name", "namespace"}
    }
    rest = {key: value for key, value in patch.items() if key not in {"apiVersion", "kind", "metadata"}}
    return {**rest, "metadata": metadata} if metadata else rest


def _rename(resource: Resource, data: Mapping[str, Any]) -> None:
    """Namespace, prefix, suffix and labels, as far as later patches look for them."""
    metadata = dict(mapping_at(resource.data, "metadata"))
    kind = text_at(resource.data, "kind")
    if text_at(data, "namespace") and kind not in _CLUSTER_WIDE:
        metadata["namespace"] = text_at(data, "namespace")
    if kind not in {"Namespace", "CustomResourceDefinition", "APIService"}:
        metadata["name"] = text_at(data, "namePrefix") + text_at(metadata, "name") + text_at(data, "nameSuffix")
    pairs = [mapping_at(entry, "pairs") for entry in list_at(data, "labels")]
    for key, added in (
        ("labels", [mapping_at(data, "commonLabels"), *pairs]),
        ("annotations", [mapping_at(data, "commonAnnotations")]),
    ):
        for more in added:
            if more:
                metadata[key] = {**mapping_at(metadata, key), **more}
    resource.data = {**resource.data, "metadata": metadata}
    resource.remember()


def _parsed(path: str) -> list[Any]:
    try:
        return parse_all(read_text(path), path)
    except IsthmusError as error:
        raise RenderError(f"{error.where or path}: {error.message}") from error


def _text(path: str) -> str:
    try:
        return read_text(path)
    except IsthmusError as error:
        raise RenderError(f"{path}: {error.message}") from error
