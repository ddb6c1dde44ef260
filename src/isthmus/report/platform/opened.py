"""What is open, and what is settled: everything that somebody still has to do, from all that is known.

Each has a rule, which CI systems sort by. Not here: deciding anything.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from isthmus.inventory.config import Config
from isthmus.inventory.model import Inventory
from isthmus.report.platform.evidence import of_findings
from isthmus.report.platform.model import Evidence, Needed, Open, Perishable, Rehearsed, Settled

RULES: Final = {
    "missing-reference": "Something that the platform needs is not at the site",
    "stale-reference": "A name at the site stands for something else than the lock says",
    "stale-data": "Data that becomes stale is too old",
    "undecided-endpoint": "Something outside is contacted at run time and nobody has decided what to do about it",
    "unresolved": "Something could not be resolved, and so cannot be carried",
    "site-decision": "The site's configuration waits for a decision",
    "rehearsal-failed": "Something did not come when it was really pulled in a closed network",
    "undecided-egress": "Something tried to leave the closed network and nobody has decided about it",
}


def open_items(
    needed: Iterable[Needed],
    perishables: Iterable[Perishable],
    inventory: Inventory | None,
    rehearsal: Rehearsed | None,
    waiting: Sequence[Open] = (),
) -> tuple[Open, ...]:
    """All of them, sorted by rule and name."""
    things = tuple(needed)
    found = [*_of_needed(things), *_of_perishables(perishables, things), *_of_inventory(inventory)]
    found += [*_of_rehearsal(rehearsal, things), *waiting]
    order = list(RULES)
    return tuple(sorted(set(found), key=lambda each: (order.index(each.rule), each)))


def settled(config: Config | None, inventory: Inventory | None) -> tuple[Settled, ...]:
    """What isthmus.yaml decides and waives, and endpoints that are decided otherwise."""
    found = set()
    platform = config.platform if config else None
    for decided in platform.decide if platform else ():
        found.add(Settled(decided.endpoint, decided.decision, decided.reason))
    for waiver in platform.waive if platform else ():
        found.add(Settled(waiver.what, "waived", waiver.reason))
    known = {each.what for each in found}
    for endpoint in inventory.endpoints if inventory else ():
        if endpoint.decision and not any(endpoint.url.startswith(what) for what in known):
            found.add(Settled(endpoint.url, endpoint.decision, endpoint.purpose))
    return tuple(sorted(found))


def _of_needed(needed: Sequence[Needed]) -> Iterator[Open]:
    for item in needed:
        if item.state in ("missing", "stale"):
            hint = (
                "isthmus pull, pack and carry it"
                if item.state == "missing"
                else "isthmus push writes the name anew"
            )
            rule = "missing-reference" if item.state == "missing" else "stale-reference"
            yield Open(rule, item.name, "; ".join(item.why), hint, item.evidence)


def _of_perishables(perishables: Iterable[Perishable], needed: Sequence[Needed]) -> Iterator[Open]:
    evidence = {item.name: item.evidence for item in needed}
    for each in perishables:
        if each.stale:
            why = f"it was good until {each.until[:10]}" if each.until else "its age is not known"
            why = why if each.present else "it is not there"
            why += f"; {each.breaks}" if each.breaks else ""
            yield Open(
                "stale-data", each.name, why, "isthmus refresh brings a newer one", evidence.get(each.name, ())
            )


def _of_inventory(inventory: Inventory | None) -> Iterator[Open]:
    if inventory is None:
        return
    for endpoint in inventory.endpoints:
        if endpoint.decision is None:
            why = endpoint.purpose + (f": {endpoint.advice}" if endpoint.advice else "")
            hint = "decide in isthmus.yaml, platform.decide: internal, disable or allow"
            yield Open("undecided-endpoint", endpoint.url, why, hint, of_findings(endpoint.findings))
    for item in inventory.unresolved:
        evidence = of_findings((item.finding,)) if item.finding else ()
        yield Open("unresolved", item.what, item.why, item.hint, evidence)


def _of_rehearsal(rehearsal: Rehearsed | None, needed: Sequence[Needed]) -> Iterator[Open]:
    if rehearsal is None:
        return
    evidence: dict[str, tuple[Evidence, ...]] = {item.name: item.evidence for item in needed}
    for failed in rehearsal.failed:
        yield Open("rehearsal-failed", failed.name, failed.why, "", evidence.get(failed.name, ()))
    for row in rehearsal.egress:
        if not row.decision:
            where = f"{row.to}:{row.port}" if row.port else row.to
            hint = "decide in isthmus.yaml, platform.decide: internal, disable or allow"
            about = evidence.get(row.by.partition(" (")[0], ())
            yield Open("undecided-egress", where, f"by {row.by}, {row.proto}, {row.count} times", hint, about)
