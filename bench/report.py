"""What a benchmark gives back: its tables, what it missed, and everything measured, for JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Cost, Costs

MIB = 1024 * 1024


@dataclass(frozen=True)
class Table:
    """A title, column heads, rows of text, and lines below."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.heads))]
        text = [self.title, _line(self.heads, widths), "  ".join("─" * width for width in widths)]
        text += [_line(row, widths) for row in self.rows]
        return "\n".join([*text, *self.notes])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()


@dataclass(frozen=True)
class Report:
    """The outcome of one benchmark. `failures` are limits that do not hold: the run then exits with 1."""

    name: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    costs: Costs
    tables: Sequence[Table]
    failures: Sequence[str] = ()
    missed: Sequence[str] = ()
    load: tuple[float, float] = field(default=(0.0, 0.0))

    def write(self, directory: Path) -> Path:
        """Write NAME.json into the directory, every run in it."""
        directory.mkdir(parents=True, exist_ok=True)
        document = {
            "benchmark": self.name,
            "machine": machine(),
            "load_average": {"before": self.load[0], "after": self.load[1]},
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "runs": {
                scenario: {name: [_run(cost) for cost in costs] for name, costs in by_name.items()}
                for scenario, by_name in self.costs.items()
            },
            "failures": list(self.failures),
            "missed": list(self.missed),
        }
        path = directory / f"{self.name}.json"
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        return path


def _run(cost: Cost) -> dict[str, Any]:
    return {**asdict(cost), "facts": dict(cost.facts), "cpu": cost.cpu}


def machine() -> dict[str, Any]:
    """Facts that explain the numbers; nothing that identifies the machine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": pages * size,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.machine()
