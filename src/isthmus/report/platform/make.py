"""Puts a platform's report together from what others know. Not here: finding any of it out."""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from isthmus import __version__
from isthmus.content.freshness import Age
from isthmus.content.times import as_text, now_or_epoch
from isthmus.errors import UsageError
from isthmus.inventory.config import Config
from isthmus.inventory.lock import Lock, LockEntry
from isthmus.inventory.model import Inventory
from isthmus.oci import Reference
from isthmus.report.items import component
from isthmus.report.packages.model import text
from isthmus.report.platform import evidence, opened
from isthmus.report.platform.model import (
    FORMAT,
    VERSION,
    Change,
    Compared,
    Crossing,
    Gone,
    Group,
    Needed,
    Open,
    Perishable,
    PlatformReport,
    Rehearsed,
    State,
)


class Known(msgspec.Struct, frozen=True):
    """What is known beside the lock; whatever is not given is not in the report.

    `checked` says in words what was asked for the references; then `missing` and `stale` have the reasons by name.
    `size` counts every blob of the lock once. `ages` are of a store; without, the lock's own dates are taken.
    """

    config: Config | None = None
    inventory: Inventory | None = None
    checked: str = ""
    size: int | None = None
    missing: dict[str, tuple[str, ...]] = {}
    stale: dict[str, tuple[str, ...]] = {}
    ages: tuple[Age, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    rehearsal: Rehearsed | None = None
    previous: Lock | None = None
    waiting: tuple[Open, ...] = ()


def make_report(lock: Lock, known: Known) -> PlatformReport:
    """The report of a lock; the same for the same input and the same moment, which shows only in what is stale."""
    now = now_or_epoch()
    before = {entry.key: entry for entry in known.previous.references} if known.previous else None
    needed = tuple(_needed(entry, known, before) for entry in sorted(lock.references, key=lambda entry: entry.key))
    perishables = _perishables(lock, known, now)
    config = known.config
    return PlatformReport(
        format=FORMAT,
        version=VERSION,
        tool=f"isthmus {__version__}",
        name=config.platform.name if config else "platform",
        made=as_text(now) if os.environ.get("SOURCE_DATE_EPOCH") else "",
        site=config.site.domain or config.site.registry.host if config else "",
        platforms=tuple(sorted(lock.platforms)),
        checked=known.checked,
        needed=needed,
        by_kind=_groups(needed, lambda item: (item.kind,)),
        by_host=_groups(needed, lambda item: (item.host,)),
        by_component=_groups(needed, lambda item: item.components),
        size=known.size if known.size is not None else sum(item.size for item in needed),
        exact=known.size is not None,
        crossings=known.crossings,
        perishables=perishables,
        rehearsal=known.rehearsal,
        open=opened.open_items(needed, perishables, known.inventory, known.rehearsal, known.waiting),
        settled=opened.settled(config, known.inventory),
        previous=_compared(known.previous, lock) if known.previous else None,
    )


def _needed(entry: LockEntry, known: Known, before: dict[tuple[str, str], LockEntry] | None) -> Needed:
    was = before.get(entry.key) if before is not None else None
    missing, stale = known.missing.get(entry.name, ()), known.stale.get(entry.name, ())
    state: State = "missing" if missing else "stale" if stale else "present" if known.checked else "unknown"
    change: Change = (
        "" if before is None else "new" if was is None else "same" if was.digest == entry.digest else "changed"
    )
    lines = sorted(set(entry.evidence))
    return Needed(
        kind=entry.kind,
        name=text(entry.name),
        digest=str(entry.digest),
        media_type=text(entry.media_type),
        size=entry.size,
        host=_host(entry),
        platforms=tuple(sorted(entry.platforms)),
        components=tuple(sorted({component(text(line)) for line in lines})),
        evidence=tuple(evidence.parse(line) for line in lines),
        state=state,
        why=tuple(text(why) for why in (*missing, *stale)),
        change=change,
        was=str(was.digest) if was and change == "changed" else "",
        fresh_until=_until(entry.checked or entry.created, entry.max_age),
        attached=len(entry.referrers),
        files=len(entry.contents),
        serve=text(entry.serve),
        verified_by=tuple(text(line) for line in entry.verified_by),
        reference=text(entry.stored_name),
    )


def _host(entry: LockEntry) -> str:
    try:
        if entry.in_registry:
            return Reference.parse(entry.name.removeprefix("oci://")).host
        return text(urlsplit(entry.name).hostname or "") or entry.kind
    except (UsageError, ValueError):
        return entry.kind


def _groups(needed: Iterable[Needed], names: Callable[[Needed], Iterable[str]]) -> tuple[Group, ...]:
    groups: dict[str, list[Needed]] = {}
    for item in needed:
        for name in names(item):
            groups.setdefault(name, []).append(item)
    found = (
        Group(name, len(items), sum(i.size for i in items), sum(i.size for i in items if i.state == "present"))
        for name, items in groups.items()
    )
    return tuple(sorted(found, key=lambda group: (-group.size, group.name)))


def _perishables(lock: Lock, known: Known, now: datetime) -> tuple[Perishable, ...]:
    if known.ages:
        rows = [
            Perishable(
                name=text(age.name),
                kind=age.kind,
                created=age.created,
                until=_moment(now, age),
                stale=age.stale,
                present=age.present,
                purpose=text(age.purpose),
                breaks=text(age.breaks),
            )
            for age in known.ages
        ]
    else:
        rows = [_of_lock(entry, now) for entry in lock.references if entry.max_age]
    return tuple(sorted(rows, key=lambda row: (not row.stale, row.until, row.kind, row.name)))


def _of_lock(entry: LockEntry, now: datetime) -> Perishable:
    until = _until(entry.checked or entry.created, entry.max_age)
    return Perishable(text(entry.name), entry.kind, entry.created, until, not until or until < as_text(now), True)


def _moment(now: datetime, age: Age) -> str:
    """When an age will be, or was, too great: the second of `now` does not show in it."""
    if age.age is None:
        return ""
    return _until(age.checked or age.created, age.max_age) or as_text(
        now + timedelta(seconds=age.max_age - age.age)
    )


def _until(since: str, max_age: int) -> str:
    if not since or not max_age:
        return ""
    try:
        made = datetime.fromisoformat(since)
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        return as_text(made.astimezone(UTC) + timedelta(seconds=max_age))
    except (ValueError, OverflowError):
        return ""


def _compared(previous: Lock, lock: Lock) -> Compared:
    keys = {entry.key for entry in lock.references}
    gone = sorted(
        Gone(e.kind, text(e.name), str(e.digest), e.size) for e in previous.references if e.key not in keys
    )
    return Compared(len(previous.references), sum(e.size for e in previous.references), tuple(gone))


def words(findings: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Reasons by name, from pairs of name and reason."""
    found: dict[str, list[str]] = {}
    for name, why in findings:
        found.setdefault(name, []).append(why)
    return {name: tuple(whys) for name, whys in found.items()}
