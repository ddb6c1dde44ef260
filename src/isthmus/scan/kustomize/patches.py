"""Applies patches: strategic merges as far as they may touch what is pulled, and JSON patches (RFC 6902).

Lists of pod templates that Kubernetes merges by a key are merged by it, all others are replaced. Not here:
which objects a patch is for (`resource`).
"""

import copy
from collections.abc import Mapping
from typing import Any

from isthmus.scan.document import Document
from isthmus.scan.helm.request import RenderError

_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "env": "name",
    "volumes": "name", "imagePullSecrets": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath",
}  # fmt: skip
_OWN_GROUPS = frozenset({"", "apps", "batch"})
_DIRECTIVE = "$patch"


def merge(data: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object with a strategic merge patch applied; None where the patch deletes it. Raises RenderError."""
    if patch.get(_DIRECTIVE) == "delete":
        return None
    by_key = Document("", data).group in _OWN_GROUPS
    return _merge_mapping(data, patch, by_key)


def _merge_mapping(data: Mapping[str, Any], patch: Mapping[str, Any], by_key: bool) -> dict[str, Any]:
    directive = patch.get(_DIRECTIVE)
    rest = {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if any(key.startswith("$") for key in rest) or directive not in (None, "replace", "merge", "delete"):
        raise RenderError("a patch with directives other than $patch needs kustomize itself")
    if directive == "replace":
        return copy.deepcopy(rest)
    if directive == "delete":
        return {}
    result = dict(data)
    for key, value in rest.items():
        held = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            if value.get(_DIRECTIVE) == "delete":
                result.pop(key, None)
            else:
                result[key] = _merge_mapping(held if isinstance(held, Mapping) else {}, value, by_key)
        elif isinstance(value, list) and by_key and key in _MERGE_KEYS:
            result[key] = _merge_list(held if isinstance(held, list) else [], value, _MERGE_KEYS[key])
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merge_list(held: list[Any], patch: list[Any], key: str) -> list[Any]:
    if any(not isinstance(item, Mapping) for item in (*held, *patch)):
        raise RenderError(f"a list that is merged by {key} holds something other than mappings")
    if any(item.get(_DIRECTIVE) == "replace" and len(item) == 1 for item in patch):
        return [copy.deepcopy(item) for item in patch if _DIRECTIVE not in item]
    rest = {repr(item.get(key)): item for item in held}
    result: list[Any] = []
    for item in patch:
        if key not in item:
            raise RenderError(f"a patch of a list has an element without {key}")
        mine = rest.pop(repr(item[key]), {})
        if item.get(_DIRECTIVE) != "delete":
            result.append(_merge_mapping(mine, item, by_key=True))
    # As kustomize orders them, which later JSON patches count on: those of the patch first.
    return [*result, *rest.values()]


def apply_operations(data: dict[str, Any], operations: list[Any]) -> dict[str, Any]:
    """The object with a JSON patch applied; raises RenderError for one that does not apply."""
    document: Any = copy.deepcopy(data)
    for operation in operations:
        if not isinstance(operation, Mapping) or not isinstance(operation.get("path"), str):
            raise RenderError("a JSON patch has an operation without a path")
        try:
            document = _apply(document, str(operation.get("op")), operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise RenderError(f"the JSON patch does not apply at {operation['path'][:200]!r}") from error
    if not isinstance(document, dict):
        raise RenderError("the JSON patch leaves no object")
    return document


def _apply(document: Any, name: str, operation: Mapping[str, Any]) -> Any:
    path = _pointer(operation["path"])
    if name == "test":
        if _get(document, path) != operation["value"]:
            raise RenderError(f"the test of a JSON patch fails at {operation['path'][:200]!r}")
        return document
    if name == "remove":
        return _remove(document, path)
    if name == "replace":
        _get(document, path)
        return _add(document, path, copy.deepcopy(operation["value"]), replace=True)
    if name == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if name in {"move", "copy"}:
        source = _pointer(operation["from"])
        value = copy.deepcopy(_get(document, source))
        return _add(_remove(document, source) if name == "move" else document, path, value)
    raise RenderError(f"a JSON patch has no operation {name[:40]!r}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(text)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[_index(document, part)]
    return document


def _index(container: Any, part: str) -> Any:
    if isinstance(container, list):
        position = int(part)
        if position < 0:
            position += len(container)
        if not 0 <= position < len(container):
            raise IndexError(part)
        return position
    if not isinstance(container, dict):
        raise TypeError(part)
    return part


def _add(document: Any, path: list[str], value: Any, replace: bool = False) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    last = path[-1]
    if isinstance(parent, list) and not replace:
        position = len(parent) if last == "-" else int(last)
        if not 0 <= position <= len(parent):
            raise IndexError(last)
        parent.insert(position, value)
    else:
        parent[_index(parent, last)] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    parent = _get(document, path[:-1])
    del parent[_index(parent, path[-1])]
    return document
