"""Merging mappings as yq's `*` and helmfile's values do: deeply, later wins, lists are replaced."""

from collections.abc import Iterable, Mapping
from typing import Any


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A new mapping of all layers."""
    result: dict[str, Any] = {}
    for layer in layers:
        _merge_into(result, layer)
    return result


def _merge_into(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        held = base.get(key)
        if isinstance(value, Mapping):
            if not isinstance(held, dict):
                base[key] = held = {}
            _merge_into(held, value)
        else:
            base[key] = value
