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

from bench import serve_peers
from bench.measure import Cost, Costs, MeasureError
from bench.options import Options
from bench.report import Report, Table
from bench.serve_peers import Content, Server
from isthmus.store import Store
from tests.real import go_tools
from tests.real.docker_registry import Tls

LOAD = Path(__file__).with_name("serve_load.py")
OURS, LIMIT = "isthmus", "nginx"
CONNECTIONS = (1, 8, 64)
RATE = 5000
"""Manifests asked for in a second, all in all, in the full run."""

MEMORY = 200 * 1024 * 1024
START_SECONDS = 2.0
GIB = 1024**3

Make = Callable[[Content, Path, Tls | None], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    blobs: int
    size: int
    rate: int
    stored: int


def run(options: Options) -> Report:
    """Measure. Raises MeasureError where a server or its load fails."""
    small = options.mode == "small"
    plan = Plan(8, 4 * 1024**2, 500, 5_000) if small else Plan(64, 16 * 1024**2, RATE, 100_000)
    contenders = _contenders(options)
    costs: Costs = {}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-serve-") as name:
        place = Path(name)
        content = serve_peers.make_content(place, plan.blobs, plan.size, 32)
        for tls in (None, _certificate(place)):
            for who, make in contenders.items():
                options.say(f"{who}{', TLS' if tls else ''}")
                home = place / f"{who}{'-tls' if tls else ''}"
                home.mkdir()
                with make(content, home, tls) as server:
                    for count in CONNECTIONS:
                        _load(server, tls, 1, plan)  # does not count
                        for _ in range(options.runs):
                            scenario = f"{count} connections{', TLS' if tls else ''}"
                            cost = _load(server, tls, count, plan)
                            costs.setdefault(scenario, {}).setdefault(who, []).append(cost)
                shutil.rmtree(home)
        costs["start"] = {OURS: [_start(place / "many", plan.stored) for _ in range(options.runs)]}
    return _report(options, plan, costs)


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


def _certificate(place: Path) -> Tls:
    import trustme

    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", "localhost")
    made.cert_chain_pems[0].write_to_path(place / "tls.pem")
    authority.cert_pem.write_to_path(place / "tls.pem", append=True)
    made.private_key_pem.write_to_path(place / "tls.key")
    return Tls(place / "tls.pem", place / "tls.key")


def _load(server: Server, tls: Tls | None, count: int, plan: Plan) -> Cost:
    """All blobs once over so many connections, with manifests beside; `facts` has what came of it."""
    common = {"host": server.host, "port": server.port, "ca": str(tls.certificate) if tls else ""}
    paths = list(server.blobs) * max(1, count // len(server.blobs))
    before = _cpu(server.pid)
    asking = [sys.executable, "-I", "-S", str(LOAD)]
    with _memory(server.pid) as peak:
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
    used = _cpu(server.pid) - before
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


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _tree(int(child)))]


def _cpu(pid: int) -> float:
    total = 0
    for one in _tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


@contextmanager
def _memory(pid: int) -> Iterator[Callable[[], int]]:
    """The most that all processes of a server had at once, without what they share."""
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            total = 0
            for one in _tree(pid):
                try:
                    lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
                except OSError:
                    continue
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            most[0] = max(most[0], total)

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
        return Cost(time.perf_counter() - began, _cpu(server.pid), 0.0, 0, {"blobs": count})


def _report(options: Options, plan: Plan, costs: Costs) -> Report:
    rows, missed = [], []
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
        missed += _goals(scenario, by_name)
    start = statistics.median(cost.wall for cost in costs["start"][OURS])
    failures = [f"start over {plan.stored} blobs took {start:.2f} s"] if start > START_SECONDS else []
    heads = ["load", "server", "MiB/s", "CPU s/GiB", "manifests/s", "p50 ms", "p99 ms", "memory MiB"]
    note = f"start over {plan.stored} blobs: {start:.2f} s; {LIMIT} sends the same files and is the limit"
    table = Table("blobs and manifests at once", heads, rows, [note])
    settings = {"blobs": plan.blobs, "size": plan.size, "manifests a second": plan.rate, "runs": options.runs}
    return Report("serve", settings, {}, costs, [table], failures, missed)


def _goals(scenario: str, by_name: dict[str, list[Cost]]) -> list[str]:
    others = {name: found for name, found in by_name.items() if name not in (OURS, LIMIT)}
    if not others or OURS not in by_name:
        return []

    def of(name: str, key: str) -> float:
        return statistics.median(cost.facts[key] for cost in by_name[name])

    best = max(others, key=lambda name: of(name, "rate"))
    wanted = 1.0 if "TLS" in scenario else 1.5
    missed = []
    if of(OURS, "rate") < wanted * of(best, "rate"):
        missed.append(f"{scenario}: {of(OURS, 'rate') / of(best, 'rate'):.2f} times the throughput of {best}")
    least = min(others, key=lambda name: of(name, "cpu_per_gib"))
    if of(OURS, "cpu_per_gib") > 0.7 * of(least, "cpu_per_gib"):
        missed.append(
            f"{scenario}: {of(OURS, 'cpu_per_gib') / of(least, 'cpu_per_gib'):.2f} times the CPU of {least}"
        )
    quickest = min(others, key=lambda name: of(name, "p99"))
    if of(OURS, "p99") > of(quickest, "p99"):
        missed.append(f"{scenario}: p99 {of(OURS, 'p99') / of(quickest, 'p99'):.2f} times that of {quickest}")
    if max(cost.peak_rss for cost in by_name[OURS]) > MEMORY:
        missed.append(f"{scenario}: more than {MEMORY >> 20} MiB of memory")
    return missed
