"""`scan`: reads every source, applies every rule to every document, and merges what they find.

Not here: reading (`sources/`), recognising (`rules/`), merging (`inventory.merge`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.inventory.merge import merge
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.rules import all_rules
from isthmus.scan.source import SourceSpec, reader
from isthmus.scan.view import View

MAX_NESTING = 3
"""How deep objects are looked for in ConfigMaps that are in ConfigMaps."""


def scan(specs: Iterable[SourceSpec | str]) -> Inventory:
    """Everything that the platform described by these sources will ask for.

    A source that cannot be read at all, and whatever a source or rule could not resolve, is in the
    inventory's `unresolved`. Raises UsageError (`invalid-source`) for what is no source.
    """
    parsed = [SourceSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    statistics: dict[str, Any] = {"sources": len(parsed), "documents": 0}
    return merge(_everything(parsed, statistics), statistics)


def apply_rules(document: Document) -> Iterator[Ref | Endpoint | Item]:
    """What the rules find in one document, the items of a list each as a document of its own."""
    for single in expand(document):
        yield from _view(View(single), 0)


def _view(view: View, depth: int) -> Iterator[Ref | Endpoint | Item]:
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


def _everything(specs: list[SourceSpec], statistics: dict[str, Any]) -> Iterator[Ref | Endpoint | Item]:
    for spec in specs:
        try:
            for found in reader(spec)(spec):
                if isinstance(found, Document):
                    statistics["documents"] += 1
                    yield from apply_rules(found)
                else:
                    yield found
        except IsthmusError as error:
            if error.code == "invalid-source":
                raise
            yield Item(
                what=error.where or str(spec),
                why=error.message,
                finding=Finding(source=str(spec), rule="source"),
                hint=error.hint,
            )
