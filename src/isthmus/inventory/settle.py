"""What isthmus.yaml says about what was found: additions, decisions and waivers.

Not here: finding (`scan`) and the model of the file (`config`).
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from isthmus.errors import UsageError
from isthmus.inventory.config import Addition, Decided, PlatformSection, Waiver
from isthmus.inventory.merge import merge_inventories
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Kind, Ref
from isthmus.inventory.perishables import expand
from isthmus.inventory.site_config import SiteSection
from isthmus.inventory.thing_config import PackagesSection
from isthmus.oci import Reference

_OCI_KINDS = ("image", "artifact")


class Selection(msgspec.Struct, frozen=True):
    """What is locked, and what should be but cannot be carried."""

    references: tuple[Ref, ...]
    left: tuple[Item, ...] = ()


def settle(
    found: Inventory, platform: PlatformSection, where: str = "isthmus.yaml", site: SiteSection | None = None
) -> Inventory:
    """The inventory with what the file adds, decides and waives.

    Waived items leave `unresolved` and are listed with their reason under `statistics.waived`. What is asked
    for by a name of the site itself is there and not carried: it is listed under `statistics.inside`, and such
    endpoints are decided. Raises UsageError (`invalid-reference`) for an addition that is no reference.
    """
    added = Inventory(references=tuple(_added(entry, number, where) for number, entry in enumerate(platform.add)))
    merged = merge_inventories([found, added])
    merged = merge_inventories([merged, Inventory(references=expand(merged.references, platform, site, where))])
    open_items, waived = _waive(merged.unresolved, platform.waive)
    statistics = dict(found.statistics)
    if waived:
        statistics["waived"] = [{"what": what, "reason": reason} for what, reason in waived]
    inside = {ref.name for ref in merged.references if _is_inside(ref.name, site)}
    if inside:
        statistics["inside"] = sorted(inside)
    endpoints = (_decide(endpoint, platform.decide) for endpoint in merged.endpoints)
    return msgspec.structs.replace(
        merged,
        references=tuple(ref for ref in merged.references if ref.name not in inside),
        endpoints=tuple(_decide_inside(endpoint, site) for endpoint in endpoints),
        unresolved=open_items,
        statistics=statistics,
    )


def to_lock(inventory: Inventory, include: Iterable[str] = (), waivers: Sequence[Waiver] = ()) -> Selection:
    """What `lock` takes: what is needed always, and what was asked for besides.

    `include` may hold `conditional`, `test` and `possible`. What is no image and waived is left out: it is
    brought inside by another way.
    """
    wanted = set(include)

    def takes(ref: Ref) -> bool:
        if ref.confidence == "possible" and "possible" not in wanted:
            return False
        return ref.when == "always" or ref.when in wanted

    chosen = [ref for ref in inventory.references if takes(ref)]
    waived = [ref for ref in chosen if not ref.in_registry and _is_waived(ref.name, waivers)]
    return Selection(tuple(ref for ref in chosen if ref not in waived))


def _is_inside(name: str, site: SiteSection | None) -> bool:
    """Whether the host of a reference or an address is the site's registry, or below the site's domain."""
    host = name.rpartition("://")[2].partition("/")[0]
    if site is None or not host:
        return False
    domain = site.domain.lower().strip(".")
    bare = host.lower().partition(":")[0]
    return host == site.registry.host or bool(domain and (bare == domain or bare.endswith(f".{domain}")))


def _decide_inside(endpoint: Endpoint, site: SiteSection | None) -> Endpoint:
    if endpoint.decision is not None or not _is_inside(endpoint.url, site):
        return endpoint
    return msgspec.structs.replace(endpoint, decision="internal")


def additions_by_name(platform: PlatformSection, where: str = "isthmus.yaml") -> dict[tuple[str, str], Addition]:
    """What the file says of each thing that it adds; raises UsageError (`invalid-config`) for two of one name."""
    found: dict[tuple[str, str], Addition] = {}
    for entry in platform.add:
        key = _named(entry)
        if found.setdefault(key, entry) != entry:
            raise UsageError(
                "invalid-config", f"platform.add names {key[1]} twice, and means two things", where=where
            )
    return found


def _named(entry: Addition) -> tuple[Kind, str]:
    kind, text = next((kind, text) for kind in _kinds() if (text := getattr(entry, kind)))
    if isinstance(text, PackagesSection):
        return kind, text.name
    if kind == "chart" and text.startswith("oci://") and "?" not in text:
        return kind, str(Reference.parse(text.removeprefix("oci://")))
    return kind, str(Reference.parse(text)) if kind in _OCI_KINDS else text


def _added(entry: Addition, number: int, where: str) -> Ref:
    kind, name = _named(entry)
    text = name if kind == "packages" else getattr(entry, kind)
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
        reason = _is_waived(item.what, waivers)
        if reason:
            waived.append((item.what, reason))
        else:
            still_open.append(item)
    return tuple(still_open), waived


def _is_waived(what: str, waivers: Iterable[Waiver]) -> str:
    """The reason, where there is one."""
    return next((waiver.reason for waiver in waivers if fnmatchcase(what, waiver.what)), "")
