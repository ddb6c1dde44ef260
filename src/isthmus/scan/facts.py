"""What one document says that only other documents give a meaning: doubts, gaps, and what settles them.

Rules yield these beside references; `settle` is called with everything that was found. Not here: finding
them (`rules/`, `crd_schema`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from isthmus.inventory.model import Endpoint, Finding, Item, Ref
from isthmus.scan.crd_schema import matches
from isthmus.scan.view import reference


class Doubtful(msgspec.Struct, frozen=True):
    """A reference that the definition of its kind may yet make likely; `steps` is where it stands."""

    ref: Ref
    group: str
    kind: str
    steps: tuple[str, ...]


class SchemaField(msgspec.Struct, frozen=True):
    """A definition says that this field of the kind is an image."""

    group: str
    kind: str
    steps: tuple[str, ...]


class FlagDefault(msgspec.Struct, frozen=True):
    """An operator's flag names the image of objects that name none."""

    flag: str
    image: str


class Gap(msgspec.Struct, frozen=True):
    """An object that leaves its image to the operator, which may have it in `flag`; `item` if it has not."""

    flag: str
    finding: Finding
    item: Item


def settle(found: Iterable[Any]) -> Iterator[Ref | Endpoint | Item]:
    """References, endpoints and items, with doubts and gaps settled by what came along."""
    fields: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    defaults: dict[str, set[str]] = {}
    waiting: list[Doubtful | Gap] = []
    for thing in found:
        if isinstance(thing, Doubtful | Gap):
            waiting.append(thing)
        elif isinstance(thing, SchemaField):
            fields.setdefault((thing.group, thing.kind), set()).add(thing.steps)
        elif isinstance(thing, FlagDefault):
            defaults.setdefault(thing.flag, set()).add(thing.image)
        else:
            yield thing
    for thing in waiting:
        if isinstance(thing, Gap):
            yield from _filled(thing, defaults.get(thing.flag, set()))
        elif matches(thing.steps, fields.get((thing.group, thing.kind), set())):
            yield _surer(thing.ref)
        else:
            yield thing.ref


def _filled(gap: Gap, images: set[str]) -> Iterator[Ref | Item]:
    if not images:
        yield gap.item
    for image in sorted(images):
        note = f"the operator's --{gap.flag}, because the object names no image"
        yield reference(image, msgspec.structs.replace(gap.finding, note=note))


def _surer(ref: Ref) -> Ref:
    replace = msgspec.structs.replace
    findings = tuple(
        replace(finding, confidence="likely", rule="custom-resource-schema") for finding in ref.findings
    )
    return replace(ref, findings=findings)
