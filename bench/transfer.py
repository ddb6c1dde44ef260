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
from bench.compare import missed, table
from bench.contenders import OURS, Tool, tools
from bench.images import BuiltImage
from bench.measure import Cost, take_turns
from bench.options import Options
from bench.registry import Upstream
from bench.report import Report

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
    tables = [table(f"registry → store: {name}", by_tool, GOALS.get(name, {})) for name, by_tool in costs.items()]
    return Report(
        name="transfer",
        settings={"images": len(built), "bytes": total, "mode": options.mode, "runs": options.runs},
        versions=versions,
        costs=costs,
        tables=tables,
        missed=missed(costs, GOALS),
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
