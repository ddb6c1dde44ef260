"""`serve` under load beside other registries: throughput, CPU a gigabyte, latencies, memory, start-up.

Scenarios: 1, 8 and 64 connections take the blobs, plain and with TLS, while manifests are asked for at a rate;
and the start over 100,000 blobs. Not here: the servers (`serve_peers`), the load itself (`serve_load`).
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers, serve_goals, serve_peers
from bench.measure import Cost, Costs, MeasureError
from bench.options import Options
from bench.report import Report, Table
from bench.serve_goals import LIMIT, OURS
from bench.serve_peers import Content, Server
from isthmus.store import Store
from tests.real import go_tools
from tests.real.docker_registry import Tls

LOAD = Path(__file__).with_name("serve_load.py")
CONNECTIONS = (1, 8, 64)
RATE = 5000
"""Manifests asked for in a second, all in all, in the full run."""

RUNS = 3
"""At most so many runs of each load."""

GIB = 1024**3

Make = Callable[[Content, Path, Tls | None], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    blobs: int
    size: int
    rate: int
    stored: int
    runs: int = RUNS


def run(options: Options) -> Report:
    """Measure. Raises MeasureError where a server or its load fails."""
    small = options.mode == "small"
    runs = min(options.runs, RUNS)  # there are 24 loads a run
    plan = Plan(8, 4 * 1024**2, 500, 5_000, runs) if small else Plan(64, 16 * 1024**2, RATE, 100_000, runs)
    contenders = _contenders(options)
    costs: Costs = {}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-serve-") as name:
        place = Path(name)
        content = serve_peers.make_content(place, plan.blobs, plan.size, 32)
        for tls in (None, certificate(place)):
            for who, make in contenders.items():
                options.say(f"{who}{', TLS' if tls else ''}")
                home = place / f"{who}{'-tls' if tls else ''}"
                home.mkdir()
                with make(content, home, tls) as server:
                    load(server, tls, 8, plan)  # does not count
                    for count in CONNECTIONS:
                        for _ in range(plan.runs):
                            scenario = f"{count} connections{', TLS' if tls else ''}"
                            cost = load(server, tls, count, plan)
                            costs.setdefault(scenario, {}).setdefault(who, []).append(cost)
                shutil.rmtree(home)
        costs["start"] = {OURS: [_start(place / "many", plan.stored) for _ in range(plan.runs)]}
    return _report(plan, costs)


def _contenders(options: Options) -> dict[str, Make]:
    found: dict[str, Make] = {OURS: serve_peers.isthmus}
    if shutil.which("docker-registry"):
        found["docker-registry 2.8"] = serve_peers.debian
    if go_tools.REGISTRY_3.built():
        found["registry 3"] = serve_peers.distribution
    if shutil.which("nginx"):
        found[LIMIT] = serve_peers.nginx
    wanted = {OURS, *options.peers}
    return {name: make for name, make in found.items() if not options.peers or name in wanted}


def certificate(place: Path) -> Tls:
    """For 127.0.0.1; the file of the certificate ends with its CA."""
    import trustme

    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", "localhost")
    made.cert_chain_pems[0].write_to_path(place / "tls.pem")
    authority.cert_pem.write_to_path(place / "tls.pem", append=True)
    made.private_key_pem.write_to_path(place / "tls.key")
    return Tls(place / "tls.pem", place / "tls.key")


def load(server: Server, tls: Tls | None, count: int, plan: Plan) -> Cost:
    """All blobs once over so many connections, with manifests beside; `facts` has what came of it."""
    common = {"host": server.host, "port": server.port, "ca": str(tls.certificate) if tls else ""}
    paths = list(server.blobs) * max(1, count // len(server.blobs))
    before = cpu(server.pid)
    asking = [sys.executable, "-I", "-S", str(LOAD)]
    with memory(server.pid) as peak:
        job = {
            "kind": "manifests",
            "threads": 8,
            "rate": plan.rate,
            "seconds": 3600,
            "manifests": server.manifests,
        }
        beside = subprocess.Popen(asking, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        seconds = max(2.0, plan.blobs * plan.size / GIB)
        assert beside.stdin is not None
        beside.stdin.write(json.dumps(common | job | {"seconds": seconds}).encode())
        beside.stdin.close()
        loads = _result(subprocess.run(
            asking, input=json.dumps(common | {"kind": "blobs", "threads": count, "paths": paths}).encode(),
            capture_output=True, check=False, timeout=600,
        ))  # fmt: skip
        out = beside.stdout.read() if beside.stdout else b""
        if beside.wait(60):
            raise MeasureError("the load of manifests failed")
    used = cpu(server.pid) - before
    asked = json.loads(out)
    late = sorted(one for result in asked["results"] for one in result["seconds"])
    errors = [text for result in (*asked["results"], *loads["results"]) for text in result["errors"]]
    if errors or not late:
        raise MeasureError(f"{len(errors)} requests failed, such as {errors[:1]}")
    total = sum(result["bytes"] for result in loads["results"])
    facts = {
        "bytes": total,
        "rate": total / loads["wall"],
        "cpu_per_gib": used / (total / GIB),
        "manifests_per_second": len(late) / asked["wall"],
        "p50": late[len(late) // 2],
        "p99": late[int(len(late) * 0.99)],
    }
    return Cost(loads["wall"], used, 0.0, peak(), facts)


def _result(done: "subprocess.CompletedProcess[bytes]") -> dict[str, Any]:
    if done.returncode:
        raise MeasureError(f"the load failed: {done.stderr.decode()[-1000:]}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in tree(int(child)))]


def cpu(pid: int) -> float:
    """Seconds of CPU time that a process and those below it had so far."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def held(pid: int) -> int:
    """Bytes of memory of a process and those below it; what they share counts once."""
    total = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


@contextmanager
def memory(pid: int) -> Iterator[Callable[[], int]]:
    """The most that all processes of a server had at once, without what they share."""
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            most[0] = max(most[0], held(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: most[0]
    finally:
        stop.set()
        watching.join()


def _start(store: Path, count: int) -> Cost:
    """From the command to the first answer, over a store with so many blobs."""
    if not store.exists():
        Store.create(store).close()
        place = store / "blobs" / "sha256"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (place / f"{number:064x}").write_bytes(b"x")
    began = time.perf_counter()
    with serve_peers.isthmus(Content(store, (), ()), store.parent, None) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=30) as answer:
            answer.read()
        return Cost(time.perf_counter() - began, cpu(server.pid), 0.0, 0, {"blobs": count})


def _report(plan: Plan, costs: Costs) -> Report:
    rows = []
    for scenario, by_name in costs.items():
        if scenario == "start":
            continue
        for name, found in by_name.items():
            facts = {key: statistics.median(cost.facts[key] for cost in found) for key in found[0].facts}
            peak = max(cost.peak_rss for cost in found)
            rows.append([
                scenario, name, f"{facts['rate'] / 1024**2:.0f}", f"{facts['cpu_per_gib']:.2f}",
                f"{facts['manifests_per_second']:.0f}", f"{facts['p50'] * 1000:.1f}", f"{facts['p99'] * 1000:.1f}",
                f"{peak / 1024**2:.0f}",
            ])  # fmt: skip
    start = statistics.median(cost.wall for cost in costs["start"][OURS])
    goals = serve_goals.goals(costs, start)
    failures = [str(goal) for goal in goals if goal.is_absolute and not goal.met]
    missed = [str(goal) for goal in goals if not goal.is_absolute and not goal.met]
    heads = ["load", "server", "MiB/s", "CPU s/GiB", "manifests/s", "p50 ms", "p99 ms", "memory MiB"]
    note = f"start over {plan.stored} blobs: {start:.2f} s; {LIMIT} sends the same files and is the limit"
    table = Table("blobs and manifests at once", heads, rows, [note])
    settings = {"blobs": plan.blobs, "size": plan.size, "manifests a second": plan.rate, "runs": plan.runs}
    versions = {name: peers.version(name) for name in ("docker-registry", "nginx")}
    return Report("serve", settings, versions, costs, [table, serve_goals.table(goals)], failures, missed)
