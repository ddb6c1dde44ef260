"""Joins what several sources and rules found into one inventory: sorted, each thing once.

The result depends only on the set of what goes in, not on its order, so that a lock or report made of it
is the same every time. Not here: deciding what is found (`scan`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from isthmus.inventory.model import Decision, Endpoint, Finding, Inventory, Item, Ref


def merge(found: Iterable[Ref | Endpoint | Item], statistics: Mapping[str, Any] | None = None) -> Inventory:
    """One inventory of everything found; findings of the same thing are joined and sorted."""
    references: dict[tuple[str, str], list[Ref]] = {}
    endpoints: dict[tuple[str, str], list[Endpoint]] = {}
    items: set[tuple[str, str, Finding | None, str]] = set()
    for thing in found:
        if isinstance(thing, Ref):
            references.setdefault(thing.key, []).append(thing)
        elif isinstance(thing, Endpoint):
            endpoints.setdefault((thing.url, thing.purpose), []).append(thing)
        else:
            items.add((thing.what, thing.why, thing.finding, thing.hint))
    return Inventory(
        references=tuple(_join_refs(references[key]) for key in sorted(references)),
        endpoints=tuple(_join_endpoints(endpoints[key]) for key in sorted(endpoints)),
        unresolved=tuple(
            Item(what=what, why=why, finding=finding, hint=hint)
            for what, why, finding, hint in sorted(items, key=_item_order)
        ),
        statistics=dict(sorted((statistics or {}).items())),
    )


def merge_inventories(inventories: Iterable[Inventory]) -> Inventory:
    """One inventory of several; numbers in their statistics are added up."""
    held = list(inventories)
    statistics: dict[str, Any] = {}
    for inventory in held:
        for name, value in inventory.statistics.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            statistics[name] = statistics.get(name, 0) + value if is_number else value
    return merge((thing for inventory in held for thing in things(inventory)), statistics)


def things(inventory: Inventory) -> Iterable[Ref | Endpoint | Item]:
    """Everything in an inventory, as `merge` takes it."""
    yield from inventory.references
    yield from inventory.endpoints
    yield from inventory.unresolved


def difference(old: Inventory, new: Inventory) -> tuple[tuple[Ref, ...], tuple[Ref, ...]]:
    """The references that `new` has and `old` has not, and the other way round."""
    before = {ref.key for ref in old.references}
    after = {ref.key for ref in new.references}
    added = tuple(ref for ref in new.references if ref.key not in before)
    removed = tuple(ref for ref in old.references if ref.key not in after)
    return added, removed


def _join_refs(refs: list[Ref]) -> Ref:
    return msgspec.structs.replace(
        refs[0],
        as_written=tuple(sorted({text for ref in refs for text in ref.as_written})),
        platforms=tuple(sorted({name for ref in refs for name in ref.platforms})),
        findings=tuple(sorted({finding for ref in refs for finding in ref.findings})),
    )


def _join_endpoints(endpoints: list[Endpoint]) -> Endpoint:
    decisions: list[Decision] = sorted(e.decision for e in endpoints if e.decision is not None)
    return msgspec.structs.replace(
        endpoints[0],
        findings=tuple(sorted({finding for endpoint in endpoints for finding in endpoint.findings})),
        decision=decisions[0] if decisions else None,
        advice=max((endpoint.advice for endpoint in endpoints), key=lambda text: (len(text), text)),
    )


def _item_order(item: tuple[str, str, Finding | None, str]) -> tuple[str, str, tuple[Finding, ...], str]:
    what, why, finding, hint = item
    return what, why, () if finding is None else (finding,), hint
