"""Applies every rule to one document, to the objects of a list, and to objects inside of ConfigMaps.

Not here: the rules (`rules/`), and what is made of what they find (`run`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.scan.crd_schema import image_fields
from isthmus.scan.document import Document
from isthmus.scan.facts import SchemaField
from isthmus.scan.rules import all_rules
from isthmus.scan.view import View

MAX_NESTING = 3
"""How deep objects are looked for in ConfigMaps that are in ConfigMaps."""


def apply_rules(document: Document) -> Iterator[Any]:
    """What the rules find in one document, the items of a list each as a document of its own."""
    for single in expand(document):
        yield from _view(View(single), 0)


def _view(view: View, depth: int) -> Iterator[Any]:
    for group, kind, steps in image_fields(view.document):
        yield SchemaField(group, kind, steps)
    for rule in all_rules():
        yield from rule(view)
    if depth < MAX_NESTING:
        for tree in view.objects:
            inner = Document(view.document.source, tree.data, view.when, view.document.note)
            for single in expand(inner):
                yield from _view(View(single, f"{view.object_id} {view.prefix}{tree.path}", "likely"), depth + 1)


def expand(document: Document) -> Iterator[Document]:
    """The document itself, or the items of a `List`, `DeploymentList` and so on."""
    data = document.data
    if isinstance(data, list):
        items, kind = data, ""
    elif isinstance(data, Mapping) and document.kind.endswith("List") and isinstance(data.get("items"), list):
        items, kind = data["items"], document.kind.removesuffix("List")
    else:
        yield document
        return
    for item in items:
        if not isinstance(item, Mapping):
            continue
        if kind and "kind" not in item:
            # The items of a typed list do not repeat their type.
            item = {"apiVersion": document.api_version, "kind": kind, **item}
        yield from expand(Document(document.source, item, document.when, document.note))
