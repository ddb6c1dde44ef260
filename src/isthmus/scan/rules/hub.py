"""Images made of a `hub` and a `tag` that several components share, as Istio's settings have them. Likely.

Not here: names whose parts stand next to each other (`split_fields`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Item, Ref
from isthmus.scan.document import mapping_at, text_at
from isthmus.scan.recognise import Look, look
from isthmus.scan.settings import is_off
from isthmus.scan.view import View

RULE = "hub-and-tag"
# What the settings of these kinds run without naming it.
_IMPLIED: Mapping[str, tuple[str, ...]] = {"IstioOperator": ("pilot", "proxyv2"), "Istio": ("pilot", "proxyv2")}


def find(view: View) -> Iterator[Ref | Item]:
    """Every image of a component below a hub and a tag."""
    for path, mapping in view.mappings:
        hub, tag = text_at(mapping, "hub").rstrip("/"), str(mapping.get("tag") or "")
        if not hub or not tag or look(f"{hub}/x:{tag}") is not Look.STRONG:
            continue
        names = {".image": text_at(mapping, "image")}
        for key in mapping:
            below = mapping_at(mapping, key)
            if below and not is_off(below):
                names[f".{key}.image"] = _image(below)
        for name in _IMPLIED.get(view.document.kind, ()):
            names[f".hub ({name})"] = name
        for place, name in sorted(names.items()):
            if name and "/" not in name and ":" not in name:
                finding = view.finding(f"{path}{place}", RULE, "likely", note=f"with {path}.hub and {path}.tag")
                yield view.image(f"{hub}/{name}:{tag}", finding)


def _image(component: Mapping[str, Any]) -> str:
    return "" if text_at(component, "hub") or component.get("tag") else text_at(component, "image")
