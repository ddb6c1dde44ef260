"""Store → bundle → store, beside `cp` and hashing and beside other tools, on the images of `bench.images`.

Ours packs with a signature, hashes everything twice and waits for the medium; `cp` does neither, and is the
measure of what the bytes cost at least. Also here: what an update carries, beside what is really new.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import bundle_tools, layout, peers, registry
from bench.bundle_tools import BASE, DURABLE, OURS, Carrier, Workshop
from bench.bundle_update import update_table
from bench.images import BuiltImage
from bench.measure import Cost, Costs, MeasureError, Spread, take_turns
from bench.options import Options
from bench.report import MIB, Report, Table

OUT, IN, VERIFY = "store → bundle", "bundle → store", "verify"
MAX_RSS = 200 * MIB
BASE_GOAL, PEER_GOAL = 1.3, 0.7
"""Wall time at most, as a share of copying and hashing, and of the best peer."""


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    built = registry.images(options.mode)
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place:
        workshop = Workshop.prepare(Path(place), built)
        carriers = bundle_tools.carriers(workshop, options.peers)
        rounds = {name: _round(carrier, workshop, built) for name, carrier in carriers.items()}
        costs = take_turns(rounds, options.runs, options.say)
        options.say("what an update carries")
        update, over = update_table(built, Path(place) / "update")
    total = sum(path.stat().st_size for path in (built[0].layout / "blobs" / "sha256").iterdir())
    return Report(
        name="bundle",
        settings={"images": len(built), "bytes": total, "mode": options.mode, "runs": options.runs},
        versions={name: peers.version(name) for name in ("skopeo", "tar", "zstd", "openssl", "cp")},
        costs=costs,
        tables=[*(_table(name, by_tool) for name, by_tool in costs.items()), update],
        failures=[*_failures(costs), *over],
        missed=[line for name, by_tool in costs.items() for line, met in _compared(name, by_tool) if not met],
    )


def _round(carrier: Carrier, workshop: Workshop, built: Sequence[BuiltImage]) -> Callable[[], Mapping[str, Cost]]:
    """Out and in again, and a look at what was carried, in an empty place."""

    def contend() -> Mapping[str, Cost]:
        place = workshop.place / "round"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        bundle, site = place / "bundle", place / "site"
        costs = {OUT: carrier.out(bundle)}
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        costs[OUT] = replace(costs[OUT], facts={"bytes": size})
        costs[IN] = carrier.into(bundle, site)
        if (verified := carrier.verify(bundle)) is not None:
            costs[VERIFY] = verified
        layout.check(site, (image.digest for image in built))
        shutil.rmtree(place)
        return costs

    return contend


def _table(scenario: str, costs: Mapping[str, Sequence[Cost]]) -> Table:
    rows = []
    for name, runs in sorted(costs.items(), key=lambda item: _wall(item[1])):
        wall, cpu = Spread.of([cost.wall for cost in runs]), Spread.of([cost.cpu for cost in runs])
        peak = max(cost.peak_rss for cost in runs) / MIB
        carried = f"{runs[0].facts['bytes'] / 1e6:.1f}" if "bytes" in runs[0].facts else ""
        spread = f"{wall.least:.2f}–{wall.most:.2f}"
        rows.append((name, f"{wall.median:.2f}", spread, f"{cpu.median:.2f}", f"{peak:.0f}", carried))
    heads = ("tool", "wall s", "min–max", "CPU s", "peak MiB", "MB carried")
    return Table(scenario, heads, rows, [line for line, _ in _compared(scenario, costs)])


def _wall(runs: Sequence[Cost]) -> float:
    return Spread.of([cost.wall for cost in runs]).median


def _compared(scenario: str, costs: Mapping[str, Sequence[Cost]]) -> list[tuple[str, bool]]:
    """Our wall time beside that of copying and of the best peer, and whether the goals are met."""
    ours, lines = _wall(costs[OURS]), []
    for name, goal in ((BASE, BASE_GOAL), (DURABLE, None)):
        if name in costs:
            lines.append(_line(scenario, ours, name, _wall(costs[name]), goal))
    known = (BASE, DURABLE)
    others = {n: _wall(runs) for n, runs in costs.items() if n not in known and not n.startswith(OURS)}
    if others:
        best = min(others, key=lambda name: others[name])
        lines.append(_line(scenario, ours, f"the best peer ({best})", others[best], PEER_GOAL))
    return lines


def _line(scenario: str, ours: float, name: str, theirs: float, goal: float | None) -> tuple[str, bool]:
    share = ours / theirs
    met = goal is None or share <= goal
    verdict = "" if goal is None else f", goal {goal:.1f}×: {'met' if met else 'MISSED'}"
    return f"{scenario}: {OURS} wall {share:.2f}× of {name}{verdict}", met


def _failures(costs: Costs) -> list[str]:
    return [
        f"{scenario}: {name}: peak memory {cost.peak_rss / MIB:.0f} MiB is over {MAX_RSS / MIB:.0f} MiB"
        for scenario, by_tool in costs.items()
        for name, runs in by_tool.items()
        if name.startswith(OURS)
        for cost in runs
        if cost.peak_rss > MAX_RSS
    ]


__all__ = ["MeasureError", "run"]
