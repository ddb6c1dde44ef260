"""`scan`: reads every source, applies every rule to every document, and merges what they find.

Not here: reading (`sources/`), applying rules (`apply`), merging (`inventory.merge`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.inventory.merge import merge
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Ref
from isthmus.scan.apply import apply_rules
from isthmus.scan.catalogue_use import using
from isthmus.scan.document import Document
from isthmus.scan.facts import settle
from isthmus.scan.input import read_text
from isthmus.scan.source import SourceSpec, reader
from isthmus.scan.sources.manifests import manifest_files, total_size, unread
from isthmus.scan.worker import Task
from isthmus.scan.workers import process_count, share_out
from isthmus.scan.yaml_reader import Piece, split

MIN_SHARED = 3 << 20
"""Bytes of manifests from which on several processes are quicker than one."""
TASK_SIZE = 256 << 10
"""Characters that a process is given at a time."""


def scan(specs: Iterable[SourceSpec | str], catalogue: Iterable[str] = ()) -> Inventory:
    """Everything that the platform described by these sources will ask for.

    `catalogue` are files or directories with more entries than the package has. A source that cannot be
    read at all, and whatever a source or rule could not resolve, is in the inventory's `unresolved`. Raises
    UsageError (`invalid-source` for what is no source, `invalid-config` for a catalogue).
    """
    parsed = [SourceSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    statistics: dict[str, Any] = {"sources": len(parsed), "documents": 0}
    own = tuple(catalogue)
    with using(own):
        return merge(without_shadows(settle(_everything(parsed, own, statistics))), statistics)


def scan_documents(documents: Iterable[Document], catalogue: Iterable[str] = ()) -> Inventory:
    """What these documents ask for, wherever they come from; raises UsageError (`invalid-config`)."""
    held = list(documents)
    found = (thing for document in held for thing in apply_rules(document))
    with using(catalogue):
        return merge(without_shadows(settle(found)), {"documents": len(held)})


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


def _everything(specs: list[SourceSpec], catalogue: tuple[str, ...], statistics: dict[str, Any]) -> Iterator[Any]:
    for spec in specs:
        try:
            if spec.kind == "manifests" and process_count() > 1:
                files = manifest_files(spec.value)
                if total_size(files) > MIN_SHARED:
                    spec.allow()
                    yield from _shared_out(files, catalogue, statistics)
                    continue
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


def _shared_out(files: list[str], catalogue: tuple[str, ...], statistics: dict[str, Any]) -> Iterator[Any]:
    unreadable: list[Item] = []
    for answer in share_out(_tasks(files, catalogue, unreadable), process_count()):
        statistics["documents"] += answer.documents
        yield from answer.things()
    yield from unreadable


def _tasks(files: list[str], catalogue: tuple[str, ...], unreadable: list[Item]) -> Iterator[Task]:
    for path in files:
        label = f"manifests:{path}"
        try:
            text = read_text(path)
        except IsthmusError as error:
            unreadable.append(unread(label, error))
            continue
        pieces: list[Piece] = []
        size = 0
        for piece in split(text):
            pieces.append(piece)
            size += len(piece.text)
            if size > TASK_SIZE:
                yield Task(label, path, tuple(pieces), catalogue)
                pieces, size = [], 0
        if pieces:
            yield Task(label, path, tuple(pieces), catalogue)
