"""Times as locks and annotations have them: RFC 3339, UTC. Pure but for the clock."""

import os
from datetime import UTC, datetime


def seconds_since(created: str, now: datetime) -> int | None:
    """The age of what was made at a time as RFC 3339 has it; never negative, None for no such time."""
    try:
        made = datetime.fromisoformat(created)
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        return max(0, int((now - made).total_seconds()))
    except (ValueError, OverflowError):
        return None


def now_or_epoch() -> datetime:
    """The time, or SOURCE_DATE_EPOCH."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isascii() and given.isdigit() and len(given) < 12:
        return datetime.fromtimestamp(int(given), UTC)
    return datetime.now(UTC)


def as_text(moment: datetime) -> str:
    """RFC 3339, UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
