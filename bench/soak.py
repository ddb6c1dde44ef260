"""Memory of `serve` under load for minutes: flat, and below its limit, or the benchmark fails.

64 connections take blobs with TLS while manifests are asked for. Not here: speed (`serve`).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import serve, serve_peers
from bench.measure import Cost, MeasureError
from bench.options import Options
from bench.report import MIB, Report, Table
from bench.serve_goals import MEMORY, OURS

CONNECTIONS = 64
RATE = 200
GROWTH = 8 * MIB
"""By which memory in the last quarter may be more than in the second one, both as medians."""

STEP = 1.0
ROWS = 12


def run(options: Options) -> Report:
    """Measure. Raises MeasureError where the server or a request fails."""
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-soak-") as name:
        place = Path(name)
        content = serve_peers.make_content(place, 16, 4 * MIB, 32)
        tls = serve.certificate(place)
        with serve_peers.isthmus(content, place, tls) as server:
            common = {"host": server.host, "port": server.port, "ca": str(tls.certificate), "seconds": seconds}
            paths = list(server.blobs) * (CONNECTIONS // len(server.blobs))
            jobs = [
                {"kind": "blobs", "threads": CONNECTIONS, "paths": paths},
                {"kind": "manifests", "threads": 4, "rate": RATE, "manifests": server.manifests},
            ]
            before = serve.cpu(server.pid)
            series, total = _watched([common | job for job in jobs], server.pid, seconds, options)
            used = serve.cpu(server.pid) - before
    peak = max(held for _, held in series)
    growth, slope = _growth(series), _slope(series)
    facts = {"growth": growth, "slope_per_minute": slope, "bytes": total}
    costs = {"soak": {OURS: [Cost(series[-1][0], used, 0.0, peak, facts)]}}
    step = max(1, len(series) // ROWS)
    rows = [(f"{at:.0f}", f"{held / MIB:.1f}") for at, held in series[::step]]
    note = (
        f"peak {peak / MIB:.0f} MiB of {MEMORY / MIB:.0f}; slope {slope / MIB:+.2f} MiB a minute; "
        f"{growth / MIB:+.1f} MiB from second quarter to last, {GROWTH / MIB:.0f} allowed; "
        f"{total >> 30} GiB sent"
    )
    failures = [f"memory grew by {growth / MIB:.1f} MiB"] if growth > GROWTH else []
    failures += [f"memory was {peak / MIB:.0f} MiB"] if peak > MEMORY else []
    settings = {"minutes": options.minutes, "connections": CONNECTIONS, "manifests a second": RATE}
    table = Table("memory of all processes", ["seconds", "MiB"], rows, [note])
    return Report("soak", settings, {}, costs, [table], failures)


def _watched(
    jobs: list[dict[str, object]], pid: int, seconds: float, options: Options
) -> tuple[list[tuple[float, int]], int]:
    """Seconds and bytes held, one after the other; and the bytes that were sent."""
    asking = [sys.executable, "-I", "-S", str(serve.LOAD)]
    loads = [subprocess.Popen(asking, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in jobs]
    series: list[tuple[float, int]] = []
    try:
        for load, job in zip(loads, jobs, strict=True):
            assert load.stdin is not None
            load.stdin.write(json.dumps(job).encode())
            load.stdin.close()
        began = time.perf_counter()
        while (at := time.perf_counter() - began) < seconds:
            series.append((at, serve.held(pid)))
            if len(series) % 60 == 0:
                options.say(f"{series[-1][1] / MIB:.0f} MiB")
            time.sleep(STEP)
        found = []
        for load in loads:
            assert load.stdout is not None
            found.append(json.loads(load.stdout.read()))
            load.wait(60)
    finally:
        for load in loads:
            load.kill()
            load.wait()
    errors = [text for one in found for result in one["results"] for text in result["errors"]]
    if errors or not series:
        raise MeasureError(f"{len(errors)} requests failed, such as {errors[:1]}")
    return series, sum(result.get("bytes", 0) for one in found for result in one["results"])


def _growth(series: list[tuple[float, int]]) -> int:
    quarter = max(1, len(series) // 4)
    second = statistics.median(held for _, held in series[quarter : 2 * quarter] or series)
    return int(statistics.median(held for _, held in series[-quarter:]) - second)


def _slope(series: list[tuple[float, int]]) -> float:
    """Bytes a minute, after the first quarter, by least squares."""
    rest = series[len(series) // 4 :]
    if len(rest) < 2:
        return 0.0
    return statistics.linear_regression([at for at, _ in rest], [held for _, held in rest]).slope * 60
