"""Command line: python -m bench [WHAT…] [--runs N] [--small] prints tables and writes bench/results/WHAT.json.

Exit status: 0 measured, 1 a limit does not hold (memory, disk) or a benchmark could not be run, 2 wrong usage.
Goals against other tools are shown as met or missed and change nothing: they depend on what is installed.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from bench.images.table import Mode
from bench.measure import MeasureError
from bench.options import Options
from bench.priority import precedence
from bench.report import Report

BENCHES = {
    "transfer": "registry → store beside other tools, in time, CPU, requests and bytes",
    "between": "registry → registry and store → registry beside other tools, plain and TLS",
    "small_images": "2,000 small images, registry → registry, beside other tools",
    "bundle": "pack, unpack and verify beside cp with hashing and other tools; what an update carries",
    "parity": "parity with the library and in Python alone, from a store on disk",
    "memory": "peak memory and disk of pull, pack and unpack on one big blob",
    "serve": "blobs and manifests under load beside other registries, plain and with TLS; the start",
    "soak": "memory of serve under load for --minutes: flat, or it fails",
    "scan": "5,000 manifests, beside yq, in time, memory and what is found",
    "check": "5,000 references in a registry, in time and requests",
    "scale": "time and memory to plan a simulated set of 10,000 images and a million blobs",
}
"""Name → what it measures; the module bench.NAME has `run(options) -> Report` and is imported when it runs."""

RESULTS = Path(__file__).with_name("results")
GIB = 1024**3


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, one benchmark after the other."""
    parser = _parser()
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.what) - set(BENCHES))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    size = given.size or (GIB // 4 if given.small else 4 * GIB)
    mode: Mode = "small" if given.small else "full"
    options = Options(given.runs, mode, size, tuple(given.peer), _sayer(), given.minutes, only=tuple(given.only))
    failed = 0
    for name in given.what or BENCHES:
        try:
            with precedence() if given.precedence else nullcontext():
                failed += _one(name, options, given.results)
        except MeasureError as error:
            print(f"bench {name}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def _one(name: str, options: Options, results: Path) -> int:
    run: Callable[[Options], Report] = importlib.import_module(f"bench.{name}").run
    before = os.getloadavg()[0]
    report = run(options)
    report = replace(report, load=(before, os.getloadavg()[0]))
    path = report.write(results)
    settings = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    print(f"\n{name}: {settings}; load average before {before:.1f} on {os.cpu_count()} cores")
    for table in report.tables:
        print(f"\n{table}")
    print(f"\nwritten to {os.path.relpath(path)}")
    for failure in report.failures:
        print(f"LIMIT: {failure}", file=sys.stderr)
    return len(report.failures)


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:10} {text}" for name, text in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Isthmus.",
        epilog=f"benchmarks:\n{listed}\n\nOther tools to compare with: python -m bench.peers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", metavar="WHAT", help="which benchmarks; all where none is named")
    parser.add_argument("--runs", type=_positive, default=5, help="rounds that count, after one that does not (5)")
    parser.add_argument("--small", action="store_true", help="the small set of images and a blob of 256 MiB")
    parser.add_argument("--minutes", type=float, default=2.0, help="of soak (2); 30 is what it is to hold for")
    parser.add_argument("--size", type=_size, help="size of the big blob: 4GiB, 512MiB or bytes")
    parser.add_argument("--peer", action="append", default=[], help="compare with this tool only; repeatable")
    parser.add_argument(
        "--only", action="append", default=[], help='of between, these settings only: "2.8, TLS"; repeatable'
    )
    parser.add_argument("--precedence", action="store_true", help="on a shared machine: go first (root)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the directory for JSON (bench/results)")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _size(text: str) -> int:
    for suffix, unit in (("GiB", GIB), ("MiB", 1024**2), ("", 1)):
        if text.endswith(suffix):
            return _positive(text.removesuffix(suffix)) * unit
    raise AssertionError(text)


def _sayer() -> Callable[[str], None]:
    start = time.monotonic()
    return lambda text: print(f"{time.monotonic() - start:7.1f}s  {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
