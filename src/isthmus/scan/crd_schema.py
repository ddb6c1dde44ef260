"""Which fields of a custom resource hold images, as the schema in its definition tells.

Not here: reading the resources themselves (`rules/custom_resources`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.scan.document import Document, list_at, mapping_at, text_at
from isthmus.scan.words import names_image

MAX_DEPTH = 60
_SAYS_IMAGE = re.compile(r"\b(?:container|docker|oci) image\b", re.IGNORECASE)
_NO_NAME = re.compile(r"pull|polic|secret|digest of|tag of|version of", re.IGNORECASE)


def image_fields(document: Document) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The group, kind and steps of every text field that is an image, where the document is a definition."""
    if document.kind != "CustomResourceDefinition":
        return
    spec = mapping_at(document.data, "spec")
    group, kind = text_at(spec, "group"), text_at(mapping_at(spec, "names"), "kind")
    schemas = [
        mapping_at(mapping_at(version, "schema"), "openAPIV3Schema") for version in list_at(spec, "versions")
    ]
    schemas.append(mapping_at(mapping_at(spec, "validation"), "openAPIV3Schema"))
    seen: set[tuple[str, ...]] = set()
    for schema in schemas:
        for steps in _fields(schema, (), 0):
            if steps not in seen:
                seen.add(steps)
                yield group, kind, steps


def _fields(schema: Mapping[str, Any], steps: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    if depth > MAX_DEPTH:
        return
    for name, below in mapping_at(schema, "properties").items():
        if not isinstance(below, Mapping) or (not steps and name == "status"):
            continue
        here = (*steps, name)
        if below.get("type") == "string":
            if names_image(name) or _is_described(below):
                yield here
        elif names_image(name) and mapping_at(below, "items").get("type") == "string":
            yield (*here, "[]")
        else:
            yield from _fields(below, here, depth + 1)
    for key, step in (("items", "[]"), ("additionalProperties", "*")):
        below = schema.get(key)
        if isinstance(below, Mapping):
            yield from _fields(below, (*steps, step), depth + 1)


def _is_described(schema: Mapping[str, Any]) -> bool:
    text = text_at(schema, "description")[:300]
    return bool(_SAYS_IMAGE.search(text)) and not _NO_NAME.search(text)


def matches(steps: tuple[str, ...], known: frozenset[tuple[str, ...]] | set[tuple[str, ...]]) -> bool:
    """Whether a place in an object is one of the known fields; `*` in a field stands for any key."""
    if steps in known:
        return True
    return any(
        len(field) == len(steps) and all(a in (b, "*") for a, b in zip(field, steps, strict=True))
        for field in known
        if "*" in field
    )
