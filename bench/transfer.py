"""Registry → store: `isthmus pull` beside the other tools, on the images of `bench.images`.

Three scenarios, one after the other in every round: everything into an empty directory; once more, when
nothing has changed; and, onto a directory that holds the first generation, the images that were updated.
What each round left is hashed before it counts.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import layout, peers, registry
from bench.contenders import OURS, Tool, tools
from bench.images import BuiltImage
from bench.measure import Cost, Costs, Spread, best_peer, take_turns
from bench.options import Options
from bench.registry import Upstream
from bench.report import MIB, Report, Table

EMPTY, UNCHANGED, UPDATED = "into an empty directory", "nothing changed", "images updated"
GOALS = {EMPTY: {"wall": 0.70, "cpu": 0.80}, UNCHANGED: {"wall": 0.30, "requests": 0.30}}
"""What Isthmus means to need at most, as a share of the best peer in the same run."""


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    built = registry.images(options.mode)
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place:
        work = Path(place)
        with registry.running(work / "registry") as upstream:
            options.say(f"filling the upstream registry with {len(built)} images")
            registry.fill(upstream, built, work / "skopeo-home")
            chosen = _chosen(tools(upstream, work / "homes"), options.peers)
            rounds = {
                name: _round(tool, upstream, built, work / "layouts" / name) for name, tool in chosen.items()
            }
            costs = take_turns(rounds, options.runs, options.say)
    versions = {"docker-registry": peers.version("docker-registry")}
    versions |= {name: peers.version(name) for name in chosen if name != OURS}
    total = sum(path.stat().st_size for path in (built[0].layout / "blobs" / "sha256").iterdir())
    tables = [_table(name, by_tool) for name, by_tool in costs.items()]
    return Report(
        name="transfer",
        settings={"images": len(built), "bytes": total, "mode": options.mode, "runs": options.runs},
        versions=versions,
        costs=costs,
        tables=tables,
        missed=_missed(costs),
    )


def _chosen(found: Mapping[str, Tool], wanted: Sequence[str]) -> Mapping[str, Tool]:
    return {name: tool for name, tool in found.items() if not wanted or name == OURS or name in wanted}


def _round(
    tool: Tool, upstream: Upstream, built: Sequence[BuiltImage], place: Path
) -> Callable[[], Mapping[str, Cost]]:
    """All scenarios of one tool, in order."""
    first = [image for image in built if image.generation == "v1"]
    later = [image for image in built if image.generation != "v1"]

    def measured(images: Sequence[BuiltImage], target: Path) -> Cost:
        before = upstream.served()
        cost = tool.pull(images, target)
        facts = upstream.served().since(before)
        layout.check(target, (image.digest for image in images))
        return replace(cost, facts=facts)

    def contend() -> Mapping[str, Cost]:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        costs = {EMPTY: measured(built, place / "all"), UNCHANGED: measured(built, place / "all")}
        shutil.rmtree(place / "all")
        tool.pull(first, place / "some")
        # Together with those that stay, as a platform is pulled: the tools find out what is new.
        updated = {image.name for image in later}
        stay = [image for image in first if image.name not in updated]
        costs[UPDATED] = measured([*stay, *later], place / "some")
        shutil.rmtree(place)
        return costs

    return contend


def _table(scenario: str, costs: Mapping[str, Sequence[Cost]]) -> Table:
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
    return Table(f"registry → store: {scenario}", heads, rows, _ratios(scenario, costs))


def _median(costs: Sequence[Cost], what: str) -> float:
    return Spread.of([_value(cost, what) for cost in costs]).median


def _value(cost: Cost, what: str) -> float:
    return float(cost.facts[what]) if what in cost.facts else float(getattr(cost, what))


def _shares(scenario: str, costs: Mapping[str, Sequence[Cost]]) -> list[tuple[str, str, float, float | None]]:
    """What is compared, the best peer, the share of it that we need, and the goal if there is one."""
    shares = []
    goals = GOALS.get(scenario, {})
    for what in dict.fromkeys(["wall", "cpu", *goals]):
        medians = {name: _median(runs, what) for name, runs in costs.items()}
        best = best_peer(medians, OURS)
        if best is not None and best[1] > 0:
            shares.append((what, best[0], medians[OURS] / best[1], goals.get(what)))
    return shares


def _ratios(scenario: str, costs: Mapping[str, Sequence[Cost]]) -> list[str]:
    lines = []
    for what, peer, share, goal in _shares(scenario, costs):
        verdict = "" if goal is None else f", goal {goal:.2f}×: {'met' if share <= goal else 'MISSED'}"
        lines.append(f"{OURS} {what}: {share:.2f}× of the best peer ({peer}){verdict}")
    return lines


def _missed(costs: Costs) -> list[str]:
    return [
        f"{scenario}: {what} {share:.2f}× of {peer}, goal {goal:.2f}×"
        for scenario, by_tool in costs.items()
        for what, peer, share, goal in _shares(scenario, by_tool)
        if goal is not None and share > goal
    ]
