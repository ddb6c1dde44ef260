"""`scan`: reads every source, applies every rule to every document, and merges what they find.

Not here: reading (`sources/`), recognising (`rules/`), merging (`inventory.merge`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from isthmus.errors import IsthmusError
from isthmus.inventory.merge import merge
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Ref
from isthmus.scan.catalogue_use import using
from isthmus.scan.crd_schema import image_fields, matches
from isthmus.scan.document import Document
from isthmus.scan.rules import all_rules
from isthmus.scan.rules.custom_resources import Doubtful
from isthmus.scan.source import SourceSpec, reader
from isthmus.scan.view import View

MAX_NESTING = 3
"""How deep objects are looked for in ConfigMaps that are in ConfigMaps."""


def scan(specs: Iterable[SourceSpec | str], catalogue: Iterable[str] = ()) -> Inventory:
    """Everything that the platform described by these sources will ask for.

    `catalogue` are files or directories with more entries than the package has. A source that cannot be
    read at all, and whatever a source or rule could not resolve, is in the inventory's `unresolved`. Raises
    UsageError (`invalid-source` for what is no source, `invalid-config` for a catalogue).
    """
    parsed = [SourceSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    statistics: dict[str, Any] = {"sources": len(parsed), "documents": 0}
    with using(catalogue):
        return merge(without_shadows(_decided(_everything(parsed, statistics))), statistics)


def scan_documents(documents: Iterable[Document], catalogue: Iterable[str] = ()) -> Inventory:
    """What these documents ask for, wherever they come from; raises UsageError (`invalid-config`)."""
    held = list(documents)
    found = (thing for document in held for thing in apply_rules(document))
    with using(catalogue):
        return merge(without_shadows(_decided(found)), {"documents": len(held)})


def _decided(found: Iterable[Any]) -> Iterator[Ref | Endpoint | Item]:
    """What was found, with doubtful references settled by the definitions that came along."""
    fields: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    doubtful: list[Doubtful] = []
    for thing in found:
        if isinstance(thing, Doubtful):
            doubtful.append(thing)
        elif isinstance(thing, tuple):
            group, kind, steps = thing
            fields.setdefault((group, kind), set()).add(steps)
        else:
            yield thing
    for doubt in doubtful:
        if matches(doubt.steps, fields.get((doubt.group, doubt.kind), set())):
            yield _surer(doubt.ref)
        else:
            yield doubt.ref


def _surer(ref: Ref) -> Ref:
    replace = msgspec.structs.replace
    findings = tuple(
        replace(finding, confidence="likely", rule="custom-resource-schema") for finding in ref.findings
    )
    return replace(ref, findings=findings)


def without_shadows(found: Iterable[Ref | Endpoint | Item]) -> Iterator[Ref | Endpoint | Item]:
    """What was found, without what another rule knows better: a mere looks, an unknown purpose."""
    held = list(found)
    known = {thing.name for thing in held if isinstance(thing, Ref) and thing.confidence != "possible"}
    purposes = {thing.url for thing in held if isinstance(thing, Endpoint) and thing.purpose != "unknown"}
    purposes |= {thing.name for thing in held if isinstance(thing, Ref) and thing.kind == "file"}
    for thing in held:
        if isinstance(thing, Endpoint):
            if thing.purpose != "unknown" or thing.url not in purposes:
                yield thing
        elif not isinstance(thing, Ref) or thing.confidence != "possible" or thing.name not in known:
            yield thing


def apply_rules(document: Document) -> Iterator[Any]:
    """What the rules find in one document, the items of a list each as a document of its own."""
    for single in expand(document):
        yield from _view(View(single), 0)


def _view(view: View, depth: int) -> Iterator[Any]:
    yield from image_fields(view.document)
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


def _everything(specs: list[SourceSpec], statistics: dict[str, Any]) -> Iterator[Any]:
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
