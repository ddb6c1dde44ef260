"""What of a lock has become stale by now. Not here: what of a store has (`content.freshness`)."""

from collections.abc import Iterable
from datetime import datetime

from isthmus.check.result import Finding
from isthmus.content.times import seconds_since
from isthmus.inventory.lock import LockEntry

_DAY = 86400


def stale_entries(entries: Iterable[LockEntry], now: datetime) -> tuple[Finding, ...]:
    """Entries that are older than they may become, sorted by name.

    The age counts from when it was last known to be the newest, or from when it was made.
    """
    found = []
    for entry in entries:
        age = seconds_since(entry.checked or entry.created, now) if entry.max_age else None
        if age is not None and age > entry.max_age:
            why = f"it is stale: {_days(age)} old, at most {_days(entry.max_age)} are good"
            found.append(Finding(entry.name, why, str(entry.digest)))
    return tuple(sorted(found))


def _days(seconds: int) -> str:
    return f"{seconds / _DAY:.0f} d" if seconds >= 2 * _DAY else f"{seconds / 3600:.0f} h"
