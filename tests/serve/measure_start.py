"""How long the console of a server takes over 100,000 blobs: `python -m tests.serve.measure_start [WORKERS]`.

Starts the real command over a store of 5,000 references, and says when it answers, how long the first page
takes, when the counts are complete, and how late manifests are answered meanwhile. Not a test: it only prints.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from tests.serve.test_console_scale import fill

MANIFEST = "/v2/mirror/host-{0}.example.org/team-{1}/app-{2:04}/manifests/1.0"


def measure(store: Path, workers: str) -> None:
    """One start."""
    command = [sys.executable, "-m", "isthmus", "serve", "--store", str(store), "--listen", "127.0.0.1:0"]
    began = time.perf_counter()
    with subprocess.Popen([*command, "--workers", workers], stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            first = next(found for line in server.stderr if (found := re.search(r" at (http://[^;]+);", line)))
            _measure(server.pid, first[1], began)
        finally:
            server.terminate()


def _measure(pid: int, address: str, began: float) -> None:
    get(f"{address}/readyz")
    say("the first answer", began)
    late: list[float] = []
    stop = threading.Event()
    asking = threading.Thread(target=_ask, args=(address, stop, late))
    asking.start()
    seen = time.perf_counter()
    get(f"{address}/console/")
    print(f"{'the first page takes':32} {time.perf_counter() - seen:6.2f} s")
    for name, path, sign in (
        ("the overview is complete", "/console/", rb"Still reading|[Cc]ounting"),
        ("disk use is complete", "/console/disk", rb"Still reading|[Cc]ounting"),
    ):
        fine = 0
        while fine < 4:  # connections go to workers by chance
            fine = 0 if re.search(sign, get(f"{address}{path}")) else fine + 1
            time.sleep(0.2 if not fine else 0.0)
        say(name, began)
    stop.set()
    asking.join()
    during, late = late, []
    stop.clear()
    asking = threading.Thread(target=_ask, args=(address, stop, late))
    asking.start()
    time.sleep(2.0)
    stop.set()
    asking.join()
    for name, found in (("manifests meanwhile", during), ("manifests afterwards", late)):
        found = sorted(one * 1e3 for one in found)
        p50, p99, worst = statistics.median(found), found[int(len(found) * 0.99)], found[-1]
        print(f"{name:32} p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms of {len(found)}")
    begun = time.perf_counter()
    get(f"{address}/metrics")
    print(f"{'/metrics takes':32} {time.perf_counter() - begun:6.3f} s")
    print(f"{'memory of all processes':32} {memory(pid) / 1024**2:6.0f} MiB")


def _ask(address: str, stop: threading.Event, late: list[float]) -> None:
    number = 0
    while not stop.is_set():
        begun = time.perf_counter()
        get(address + MANIFEST.format(number % 12, number % 40, number))
        late.append(time.perf_counter() - begun)
        number = (number + 1) % 5000
        time.sleep(0.005)


def get(url: str) -> bytes:
    """The body."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()  # type: ignore[no-any-return]


def say(what: str, began: float) -> None:
    """How long after the start."""
    print(f"{what:32} {time.perf_counter() - began:6.2f} s after the start")


def memory(pid: int) -> int:
    """Bytes of a process and its children; what they share counts once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [
        line
        for one in (str(pid), *children)
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    ]
    return sum(int(line.split()[1]) * 1024 for line in lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="isthmus-start-") as name:
        fill(Path(name) / "store")
        for _ in range(3):
            measure(Path(name) / "store", sys.argv[1] if len(sys.argv) > 1 else "2")
            print()
