"""Takes precedence over whatever else runs on a machine that is shared, for the time of a measurement.

Everything that is measured and the servers it talks to inherit it, so that no contender is favoured. Linux
shares the processors among sessions first where autogroups are on, and only then by the priority of processes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.measure import MeasureError

AUTOGROUP = Path("/proc/self/autogroup")
FIRST = -19


@contextmanager
def precedence() -> Iterator[None]:
    """Go first until the context ends. Raises MeasureError where the system does not allow it (not root)."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    except PermissionError as error:
        raise MeasureError("--precedence needs the right to raise priorities: run as root") from error
    session = _session_priority()
    try:
        _set_session_priority(FIRST)
        yield
    finally:
        _set_session_priority(session)
        os.setpriority(os.PRIO_PROCESS, 0, before)


def _session_priority() -> int:
    with suppress(OSError, ValueError):
        return int(AUTOGROUP.read_text().rpartition("nice")[2])
    return 0


def _set_session_priority(value: int) -> None:
    with suppress(OSError):  # no autogroups here: the priority of the processes decides alone
        AUTOGROUP.write_text(str(value))
