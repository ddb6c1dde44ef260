"""What isthmus.yaml says about what was found: additions, decisions and waivers.

Not here: finding (`scan`) and the model of the file (`config`).
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from isthmus.inventory.config import Addition, Decided, PlatformSection, Waiver
from isthmus.inventory.merge import merge_inventories
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Kind, Ref
from isthmus.oci import Reference

_OCI_KINDS = ("image", "artifact")


def settle(found: Inventory, platform: PlatformSection, where: str = "isthmus.yaml") -> Inventory:
    """The inventory with what the file adds, decides and waives.

    Waived items leave `unresolved` and are listed with their reason under `statistics.waived`. Raises
    UsageError (`invalid-reference`) for an addition that is no reference.
    """
    added = Inventory(references=tuple(_added(entry, number, where) for number, entry in enumerate(platform.add)))
    merged = merge_inventories([found, added])
    open_items, waived = _waive(merged.unresolved, platform.waive)
    statistics = {**found.statistics, "waived": [{"what": w, "reason": r} for w, r in waived]} if waived else None
    return msgspec.structs.replace(
        merged,
        endpoints=tuple(_decide(endpoint, platform.decide) for endpoint in merged.endpoints),
        unresolved=open_items,
        statistics=statistics or found.statistics,
    )


def to_lock(inventory: Inventory, include: Iterable[str] = ()) -> list[Ref]:
    """What `lock` takes: what is needed always, and the kinds that were asked for.

    `include` may hold `conditional`, `test` and `possible`.
    """
    wanted = set(include)

    def takes(ref: Ref) -> bool:
        if ref.confidence == "possible" and "possible" not in wanted:
            return False
        return ref.when == "always" or ref.when in wanted

    return [ref for ref in inventory.references if takes(ref)]


def _added(entry: Addition, number: int, where: str) -> Ref:
    kind, text = next((kind, text) for kind in _kinds() if (text := getattr(entry, kind)))
    name = str(Reference.parse(text)) if kind in _OCI_KINDS else text
    finding = Finding(source=where, path=f".platform.add[{number}]", rule="operator", note=entry.reason)
    return Ref(kind=kind, name=name, as_written=(text,), platforms=entry.platforms, findings=(finding,))


def _kinds() -> tuple[Kind, ...]:
    return ("image", "artifact", "file", "chart", "git", "packages")


def _decide(endpoint: Endpoint, decisions: Iterable[Decided]) -> Endpoint:
    """The longest decided address that the endpoint begins with wins."""
    fitting = [decided for decided in decisions if endpoint.url.startswith(decided.endpoint)]
    if not fitting:
        return endpoint
    best = max(fitting, key=lambda decided: len(decided.endpoint))
    return msgspec.structs.replace(endpoint, decision=best.decision)


def _waive(items: Iterable[Item], waivers: Iterable[Waiver]) -> tuple[tuple[Item, ...], list[tuple[str, str]]]:
    still_open: list[Item] = []
    waived: list[tuple[str, str]] = []
    for item in items:
        reason = next((w.reason for w in waivers if fnmatchcase(item.what, w.what)), "")
        if reason:
            waived.append((item.what, reason))
        else:
            still_open.append(item)
    return tuple(still_open), waived
