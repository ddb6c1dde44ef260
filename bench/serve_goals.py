"""What `bench serve` is to reach beside other registries, and whether it does. Not here: measuring (`serve`)."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.measure import Cost, Costs
from bench.report import MIB, Table

OURS, LIMIT = "isthmus", "nginx"
MEMORY = 200 * MIB
START_SECONDS = 2.0
FASTER, FASTER_TLS, CPU, LATE = 1.5, 1.0, 0.7, 1.0


@dataclass(frozen=True)
class Goal:
    """`value` is a ratio to another registry, or absolute; `most` says that it may not be more than the goal."""

    scenario: str
    what: str
    value: float
    goal: float
    beside: str = ""
    most: bool = True

    @property
    def is_absolute(self) -> bool:
        """Whether it depends on nobody else."""
        return not self.beside

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.value <= self.goal if self.most else self.value >= self.goal

    def __str__(self) -> str:
        beside = f" of {self.beside}" if self.beside else ""
        sign = "at most" if self.most else "at least"
        return f"{self.scenario}: {self.what} {self.value:.2f}{beside}, {sign} {self.goal:.2f} wanted"


def goals(costs: Costs, start: float) -> list[Goal]:
    """All of them, for what was measured; `start` is seconds."""
    found = []
    for scenario, by_name in costs.items():
        if scenario != "start":
            found += _beside(scenario, by_name)
    peak = max((cost.peak_rss for by_name in costs.values() for cost in by_name.get(OURS, ())), default=0)
    found.append(Goal("all loads", "memory, MiB", peak / MIB, MEMORY / MIB))
    return [*found, Goal("start", "seconds", start, START_SECONDS)]


def _beside(scenario: str, by_name: Mapping[str, Sequence[Cost]]) -> list[Goal]:
    others = [name for name in by_name if name not in (OURS, LIMIT)]
    if not others or OURS not in by_name:
        return []

    def of(name: str, key: str) -> float:
        return statistics.median(cost.facts[key] for cost in by_name[name])

    def ratio(key: str, best: str) -> float:
        return of(OURS, key) / max(of(best, key), 1e-9)

    fastest = max(others, key=lambda name: of(name, "rate"))
    thrifty = min(others, key=lambda name: of(name, "cpu_per_gib"))
    quickest = min(others, key=lambda name: of(name, "p99"))
    faster = FASTER_TLS if "TLS" in scenario else FASTER
    return [
        Goal(scenario, "throughput, times that", ratio("rate", fastest), faster, fastest, most=False),
        Goal(scenario, "CPU a GiB, times that", ratio("cpu_per_gib", thrifty), CPU, thrifty),
        Goal(scenario, "p99 of manifests, times that", ratio("p99", quickest), LATE, quickest),
    ]


def table(found: Sequence[Goal]) -> Table:
    """For people."""
    rows = [
        (goal.scenario, goal.what, goal.beside, f"{goal.value:.2f}", f"{'≤' if goal.most else '≥'} {goal.goal:g}",
         "met" if goal.met else "MISSED")
        for goal in found
    ]  # fmt: skip
    return Table("goals, beside the best of the registries", ["load", "what", "of", "ours", "goal", ""], rows)
