"""Peak memory and disk of each step that one big blob goes through; the limits hold or the benchmark fails.

Memory is that of the largest process. Disk is what the step added at most, at any moment, to the store, the
bundle, the workspace and the temporary directory together, as a share of what it made. Both are peaks, so
that every step is run once. What comes out at the end is hashed. `push` and `mirror` write to a registry that
keeps nothing (`sink`), so that the blob is on disk as rarely as can be.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench import layout, peers, registry, sink
from bench.big_blob import BigArtifact, upload
from bench.contenders import OURS, program
from bench.disk import DiskWatch, used
from bench.measure import Cost, Costs, MeasureError
from bench.measure import run as run_command
from bench.options import Options
from bench.registry import Upstream
from bench.report import MIB, Report, Table
from bench.sink import Sink

MAX_RSS = 150 * MIB
MAX_DISK = 1.05
HOST, REPOSITORY, TAG = "docker.io", "bench/big", "1"
VOLUMES = 4
"""In the second half of the steps, the blob spans at least so many volumes."""


@dataclass(frozen=True)
class Step:
    """A command, the directory that it makes, and what is not needed any more after it."""

    name: str
    command: tuple[str | Path, ...]
    product: Path
    spent: tuple[Path, ...] = ()
    sink: Sink | None = None
    """Where it went, if not to the directory, which is then what it was compared with."""


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place:
        work = Path(place)
        side = work / "side"
        (side / "tmp").mkdir(parents=True)
        _require_space(side, 4 * options.size)
        with (
            registry.running(work / "registry") as upstream,
            sink.running() as pushed,
            sink.running() as mirrored,
        ):
            options.say(f"uploading a blob of {options.size / MIB:.0f} MiB")
            artifact = upload(upstream.address, f"{HOST}/{REPOSITORY}", TAG, options.size)
            costs: Costs = {}
            for step in _steps(side, upstream, artifact, pushed, mirrored):
                options.say(step.name)
                costs[step.name] = {OURS: [_measured(step, side)]}
                if step.sink is not None and step.sink.blobs.get(artifact.blob) != artifact.size:
                    raise MeasureError(f"{step.name} did not bring the blob")
                if step.spent:
                    layout.check(step.product, [artifact.digest, artifact.blob])
                for directory in step.spent:
                    shutil.rmtree(directory)
    return Report(
        name="memory",
        settings={"blob": options.size, "max_rss": MAX_RSS, "max_disk": MAX_DISK},
        versions={"docker-registry": peers.version("docker-registry")},
        costs=costs,
        tables=[_table(costs, options.size)],
        failures=_failures(costs),
    )


def _require_space(place: Path, size: int) -> None:
    free = os.statvfs(place)
    if free.f_bavail * free.f_frsize < size:
        raise MeasureError(f"{size / MIB:.0f} MiB of disk are needed in {place}; set TMPDIR, or a lower --size")


def _steps(side: Path, upstream: Upstream, artifact: BigArtifact, pushed: Sink, mirrored: Sink) -> list[Step]:
    """Everything a blob goes through: once whole, and once in volumes that it spans."""
    isthmus: str | Path = program()
    images, lock, keys = side / "images.txt", side / "isthmus.lock", side / "keys"
    images.write_text(f"{HOST}/{REPOSITORY}:{TAG}\n")
    substitutes = upstream.substitutes([HOST])
    run_command([isthmus, "lock", f"images:{images}", "--out", lock, *substitutes], cwd=side)
    run_command([isthmus, "keys", "new", "--out", keys], cwd=side)
    pull = (isthmus, "pull", "--lock", lock, "--store", side / "store", *substitutes)
    signed = ("--store", side / "store", "--lock", lock, "--sign", keys / "isthmus.key")
    volume_size = ("--volume-size", str(max(artifact.size // VOLUMES, MIB)))
    key = ("--key", keys / "isthmus.pub")

    def crossing(suffix: str, options: tuple[str | Path, ...]) -> tuple[Step, Step]:
        bundle, inside = side / f"bundle{suffix}", side / f"inside{suffix}"
        return (
            Step(f"pack{suffix}", (isthmus, "pack", "--no-tool", "--out", bundle, *signed, *options), bundle),
            Step(
                f"unpack{suffix}", (isthmus, "unpack", bundle, "--store", inside, *key), inside, (bundle, inside)
            ),
        )

    store = side / "store"
    push = (isthmus, "push", "--store", store, "--to", pushed.address)
    mirror = (isthmus, "mirror", "--lock", lock, "--to", mirrored.address, *substitutes)
    into_registries = (Step("push", push, store, sink=pushed), Step("mirror", mirror, store, sink=mirrored))
    return [Step("pull", pull, store), *into_registries, *crossing("", ()), *crossing(" in volumes", volume_size)]


def _measured(step: Step, side: Path) -> Cost:
    os.sync()
    with DiskWatch(side) as watch:
        cost = run_command(step.command, cwd=side, env={"TMPDIR": str(side / "tmp"), "HOME": str(side)})
    made = used([step.product])
    return replace(cost, facts={"disk_growth": watch.growth, "disk_made": made, "disk": watch.growth / made})


def _table(costs: Costs, size: int) -> Table:
    rows = [
        (
            name,
            f"{cost.wall:.1f}",
            f"{cost.cpu:.1f}",
            f"{size / cost.wall / MIB:.0f}",
            f"{cost.peak_rss / MIB:.0f}",
            f"{cost.facts['disk_growth'] / MIB:.0f}",
            f"{cost.facts['disk']:.3f}",
        )
        for name, cost in _each(costs).items()
    ]
    heads = ("step", "wall s", "CPU s", "MiB/s", "peak MiB", "disk MiB", "disk ÷ made")
    limits = f"limits: peak {MAX_RSS / MIB:.0f} MiB, disk {MAX_DISK:.2f}× of what is made"
    verdict = "kept" if not _failures(costs) else "NOT kept"
    return Table(f"one blob of {size / MIB:.0f} MiB", heads, rows, [f"{limits}: {verdict}"])


def _each(costs: Costs) -> Mapping[str, Cost]:
    return {name: by_name[OURS][0] for name, by_name in costs.items()}


def _failures(costs: Costs) -> list[str]:
    failures = []
    for name, cost in _each(costs).items():
        if cost.peak_rss > MAX_RSS:
            failures.append(f"{name}: peak memory {cost.peak_rss / MIB:.0f} MiB is over {MAX_RSS / MIB:.0f} MiB")
        if cost.facts["disk"] > MAX_DISK:
            failures.append(f"{name}: disk {cost.facts['disk']:.3f}× of what is made is over {MAX_DISK:.2f}×")
    return failures
