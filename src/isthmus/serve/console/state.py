"""What the console tells of the site besides content: freshness, bundles, what is under way.

Values only. Not here: disk use (`disk`), the lock (`coverage`).
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.bundle.history import ReceivedBundle, received_bundles
from isthmus.bundle.waiting import Waiting, waiting_bundles
from isthmus.errors import IsthmusError
from isthmus.serve.console.gate import Viewer
from isthmus.serve.console.holdings import Row
from isthmus.serve.console.rendering import human_span
from isthmus.serve.facts import parse_time
from isthmus.serve.misses import Misses
from isthmus.serve.pushes import Push
from isthmus.store import Store


@dataclass(frozen=True)
class Perishable:
    """Something that becomes stale. `state` is fresh, due (in the last quarter of its time) or stale."""

    row: Row
    age: str
    limit: str
    state: str
    share: float


def perishables(rows: Iterable[Row], now: float) -> list[Perishable]:
    """Everything that has a greatest age, the most stale first."""
    found = []
    for row in rows:
        if not row.max_age or not row.since:
            continue
        share = max(0.0, (now - row.since) / row.max_age)
        state = "stale" if share > 1 else "due" if share > 0.75 else "fresh"
        found.append(Perishable(row, human_span(now - row.since), human_span(row.max_age), state, share))
    return sorted(found, key=lambda one: (-one.share, one.row.name))


@dataclass(frozen=True)
class Bundles:
    """Bundles that came in, the newest first, and those that are on their way."""

    received: tuple[ReceivedBundle, ...] = ()
    waiting: tuple[Waiting, ...] = ()


def find_bundles(store: Store) -> Bundles:
    """Read the record; one that cannot be read is none."""
    try:
        received = received_bundles(store.path)
    except IsthmusError:
        received = ()
    return Bundles(tuple(reversed(received)), waiting_bundles(store.path))


@dataclass(frozen=True)
class Job:
    """Something under way; bytes, `share` in percent or None where nobody knows the whole."""

    what: str
    detail: str
    done: int
    total: int
    is_running: bool

    @property
    def share(self) -> float | None:
        """How much of it is done."""
        return round(min(self.done / self.total, 1.0) * 100, 1) if self.total else None


def jobs(pushes: Iterable[Push], bundles: Bundles, viewer: Viewer) -> list[Job]:
    """Pushes of what a viewer may see, and bundles that are being unpacked or wait for volumes."""
    now = time.time()
    found = [
        Job(f"Unpacking {one.name}", _waiting(one, now), one.done, one.total, one.is_running(now))
        for one in bundles.waiting
    ]
    for push in pushes:
        if viewer.may_see(push.repository):
            by = f"by {push.by}, " if push.by and viewer.sees_requests else ""
            detail = f"{by}for {human_span(now - push.started)}"
            found.append(Job(f"Push to {push.repository}", detail, push.done, push.total, is_running=True))
    return found


def _waiting(one: Waiting, now: float) -> str:
    if one.is_running(now):
        return "reading volumes" if one.done < one.total else "checking and moving in"
    return f"waits for volumes or for another run; last heard of {human_span(now - one.at)} ago"


@dataclass(frozen=True)
class Missing:
    """Something that was asked for in vain; times in seconds since the epoch."""

    name: str
    kind: str
    count: int
    first: float
    last: float
    by: str


def missing(misses: Misses, viewer: Viewer) -> list[Missing]:
    """What a viewer may see of the misses, the latest first."""
    if not viewer.sees_requests:
        return []
    document: Mapping[str, Any] = misses.document()
    found = [
        Missing(
            one["name"],
            str(one["kind"]).removesuffix("s"),
            one["count"],
            parse_time(one["first"]) or 0.0,
            parse_time(one["last"]) or 0.0,
            one["by"],
        )
        for one in document["missing"]
        if viewer.may_see(repository_of(one["name"]))
    ]
    return sorted(found, key=lambda one: (-one.last, one.name))


def repository_of(name: str) -> str:
    """A full name without tag and digest."""
    bare = name.partition("@")[0]
    head, slash, last = bare.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
