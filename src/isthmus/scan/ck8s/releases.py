"""`Release`: one Helm release of a state, with what it inherits from the state's release templates.

Merging follows helmfile: lists are joined, mappings merged, and the later value wins unless it is empty.
Not here: rendering state files (`state`) or charts (`cluster`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus.scan.ck8s.merge import merged
from isthmus.scan.document import list_at, text_at
from isthmus.scan.helm.request import RenderError

MAX_INHERITANCE = 30


class Release(msgspec.Struct, frozen=True):
    """A release; `values` are paths of values files or mappings, `off` says why it is not installed."""

    name: str
    namespace: str
    chart: str
    values: tuple[str | Mapping[str, Any], ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    hooks: tuple[Mapping[str, Any], ...] = ()
    off: str = ""

    @property
    def title(self) -> str:
        """`namespace/name`, as helmfile writes needs."""
        return f"{self.namespace}/{self.name}"


def resolve(
    release: Mapping[str, Any], templates: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]
) -> Release:
    """The release with all that it inherits; raises RenderError."""
    full = _inherited(release, templates, ())
    name, chart = text_at(full, "name"), text_at(full, "chart")
    if not name or not chart:
        raise RenderError(f"the release {name or full!r:.100} has no {'chart' if name else 'name'}")
    return Release(
        name=name,
        namespace=text_at(full, "namespace") or "default",
        chart=chart,
        values=tuple(item for item in list_at(full, "values") if isinstance(item, str | dict)),
        sets=tuple(_sets(full)),
        hooks=tuple(hook for hook in list_at(full, "hooks") if isinstance(hook, dict)),
        off=_why_off(full, values),
    )


def is_true(values: Mapping[str, Any], path: str) -> bool:
    """Whether the values have a true at a path such as `falco.enabled`, as helmfile's conditions need."""
    value: Any = values
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value is True


def _why_off(release: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    condition = text_at(release, "condition")
    if condition and not is_true(values, condition):
        return f"{condition} is not true"
    return "installed is false" if release.get("installed") is False else ""


def _sets(release: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in list_at(release, "set"):
        if not isinstance(entry, dict) or "name" not in entry:
            raise RenderError("an entry of `set` has no name")
        if "values" in entry:
            found.append(("set", f"{entry['name']}={{{','.join(map(str, list_at(entry, 'values')))}}}"))
        elif "value" in entry:
            found.append(("set", f"{entry['name']}={str(entry['value']).replace(',', chr(92) + ',')}"))
        else:
            raise RenderError(f"the entry {entry['name']!r:.100} of `set` reads a file, which is not supported")
    return found


def _inherited(
    release: Mapping[str, Any], templates: Mapping[str, Mapping[str, Any]], path: tuple[str, ...]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for entry in list_at(release, "inherit"):
        name = text_at(entry, "template")
        if name in path or len(path) > MAX_INHERITANCE:
            raise RenderError(f"release templates inherit in a circle: {' -> '.join((*path, name))}")
        if name not in templates:
            raise RenderError(f"there is no release template {name!r}")
        source = _inherited(templates[name], templates, (*path, name))
        for field in list_at(entry, "except"):
            source.pop(str(field), None)
        _merge_release(result, source)
    _merge_release(result, {key: value for key, value in release.items() if key != "inherit"})
    return result


def _merge_release(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        held = base.get(key)
        if isinstance(held, list) and isinstance(value, list):
            base[key] = [*held, *value]
        elif isinstance(held, dict) and isinstance(value, dict):
            base[key] = merged([held, value])
        elif held is None or value not in (None, "", 0, False):
            base[key] = value
