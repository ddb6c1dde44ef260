"""Tables of several tools at the same work, and the share of the best peer that Isthmus needs."""

from collections.abc import Mapping, Sequence

from bench.contenders import OURS
from bench.measure import Cost, Costs, Spread, best_peer
from bench.report import MIB, Table


def table(title: str, costs: Mapping[str, Sequence[Cost]], goals: Mapping[str, float]) -> Table:
    """Every tool's medians, the fastest first, and how Isthmus compares with the best peer."""
    rows = []
    for name, runs in sorted(costs.items(), key=lambda item: Spread.of([cost.wall for cost in item[1]]).median):
        wall, cpu = Spread.of([cost.wall for cost in runs]), Spread.of([cost.cpu for cost in runs])
        rows.append(
            (
                name,
                f"{wall.median:.2f}",
                f"{wall.least:.2f}–{wall.most:.2f}",
                f"{cpu.median:.2f}",
                f"{cpu.least:.2f}–{cpu.most:.2f}",
                f"{_median(runs, 'peak_rss') / MIB:.0f}",
                f"{_median(runs, 'requests'):.0f}",
                f"{_median(runs, 'bytes_read') / 1e6:.1f}",
                f"{_median(runs, 'registry_cpu'):.2f}",
            )
        )
    heads = (
        "tool", "wall s", "min–max", "CPU s", "min–max", "peak MiB", "requests", "MB read", "registry CPU s",
    )  # fmt: skip
    return Table(title, heads, rows, _ratios(goals, costs))


def _median(costs: Sequence[Cost], what: str) -> float:
    return Spread.of([_value(cost, what) for cost in costs]).median


def _value(cost: Cost, what: str) -> float:
    return float(cost.facts[what]) if what in cost.facts else float(getattr(cost, what))


def _shares(
    goals: Mapping[str, float], costs: Mapping[str, Sequence[Cost]]
) -> list[tuple[str, str, float, float | None]]:
    """What is compared, the best peer, the share of it that we need, and the goal if there is one."""
    shares = []
    for what in dict.fromkeys(["wall", "cpu", *goals]):
        medians = {name: _median(runs, what) for name, runs in costs.items()}
        best = best_peer(medians, OURS)
        if best is not None and best[1] > 0:
            shares.append((what, best[0], medians[OURS] / best[1], goals.get(what)))
    return shares


def _ratios(goals: Mapping[str, float], costs: Mapping[str, Sequence[Cost]]) -> list[str]:
    lines = []
    for what, peer, share, goal in _shares(goals, costs):
        verdict = "" if goal is None else f", goal {goal:.2f}×: {'met' if share <= goal else 'MISSED'}"
        lines.append(f"{OURS} {what}: {share:.2f}× of the best peer ({peer}){verdict}")
    return lines


def missed(costs: Costs, goals: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The goals that were not reached, by scenario."""
    return [
        f"{scenario}: {what} {share:.2f}× of {peer}, goal {goal:.2f}×"
        for scenario, by_tool in costs.items()
        for what, peer, share, goal in _shares(goals.get(scenario, {}), by_tool)
        if goal is not None and share > goal
    ]
