"""Whether and when a request is tried again. Not here: what is a temporary failure (`failures`)."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from isthmus.errors import UnreachableError
from isthmus.registry.options import ConnectionOptions

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")


def retrying(
    operation: Callable[[], T], options: ConnectionOptions, sleep: Callable[[float], None] = time.sleep
) -> T:
    """The operation's result; it is tried again after temporary failures, and must be safe to repeat."""
    attempt = 0
    while True:
        try:
            return operation()
        except UnreachableError as error:
            delay = delay_before(attempt + 1, error, options)
            if delay is None:
                raise
        attempt += 1
        sleep(delay)


def delay_before(attempt: int, error: UnreachableError, options: ConnectionOptions) -> float | None:
    """Seconds to wait before try number `attempt` + 1; None to give up."""
    import random

    if not error.temporary or attempt > options.retries:
        return None
    if error.retry_after is not None:
        # Jitter on top, so that many threads that were sent away do not come back as one.
        wait = error.retry_after + random.uniform(0, min(1.0, options.backoff))  # noqa: S311
        return wait if error.retry_after <= options.longest_wait else None
    ceiling = min(options.longest_wait, options.backoff * 2 ** min(attempt - 1, 30))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311


def parse_retry_after(header: str, now: "datetime | None" = None) -> float | None:
    """Seconds that a `Retry-After` asks for (RFC 9110, 10.2.3), from a number or a date; None where unusable."""
    text = header.strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    except OverflowError:
        return None
