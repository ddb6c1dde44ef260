"""What a command costs: wall time, CPU, peak memory; and how several commands are compared fairly.

Contenders take turns (A B C A B C …) after a round that does not count, so that whatever else the machine
does meets all of them; the median of the rounds is what counts. Not here: which commands.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
TIMEOUT = 3600.0
"""Seconds after which a command is taken for hung."""


class MeasureError(Exception):
    """A benchmark could not be run: a command failed or left something out. The message is for people."""


@dataclass(frozen=True)
class Cost:
    """What one run of a command and all its children cost; `facts` are counts that the benchmark adds.

    Seconds and bytes. `peak_rss` is the largest of any one of the processes.
    """

    wall: float
    user: float
    system: float
    peak_rss: int
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """User and system time."""
        return self.user + self.system


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Cost:
    """Run a command to its end, its output in `log`, and say what it cost. Raises MeasureError."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-cost-") as scratch:
        result = Path(scratch) / "cost"
        output = log or Path(scratch) / "output"
        words = [sys.executable, "-I", "-S", str(LAUNCHER), str(result), *map(str, command)]
        with output.open("wb") as stream:
            status = _supervised(words, cwd, {**os.environ, **(env or {})}, stream.fileno())
        if status != 0:
            tail = output.read_text(errors="replace")[-2000:]
            raise MeasureError(f"{' '.join(map(str, command))[:300]}: status {status}\n{tail}")
        wall, user, system, peak = result.read_text().split()
    return Cost(float(wall), float(user), float(system), int(peak))


def _supervised(words: Sequence[str], cwd: Path, env: Mapping[str, str], output: int) -> int:
    # A group of its own, to end all of it when it hangs, but no session of its own: see `priority`.
    process = subprocess.Popen(
        words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
    )
    try:
        return process.wait(TIMEOUT)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


Scenario = str
Contender = str
Round = Callable[[], Mapping[Scenario, Cost]]
Costs = dict[Scenario, dict[Contender, list[Cost]]]


def take_turns(contenders: Mapping[Contender, Round], runs: int, say: Callable[[str], None]) -> Costs:
    """Let every contender do a round that does not count, then `runs` rounds in turns."""
    costs: Costs = {}
    for number in range(runs + 1):
        for name, contend in contenders.items():
            say(f"{name}: {f'run {number} of {runs}' if number else 'warm-up'}")
            os.sync()  # what the one before left to write must not slow down the next
            for scenario, cost in contend().items():
                if number:
                    costs.setdefault(scenario, {}).setdefault(name, []).append(cost)
    return costs


@dataclass(frozen=True)
class Spread:
    """The middle of some numbers, and how far they reach."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Spread":
        """Of at least one number."""
        return cls(statistics.median(numbers), min(numbers), max(numbers))


def best_peer(values: Mapping[Contender, float], ours: Contender) -> tuple[Contender, float] | None:
    """The peer with the least of something; None where there is no peer."""
    peers = {name: value for name, value in values.items() if name != ours}
    if not peers:
        return None
    name = min(peers, key=lambda peer: peers[peer])
    return name, peers[name]
