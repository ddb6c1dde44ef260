"""Runs the demo's steps in order and keeps what each of them reports. Not here: the steps themselves."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.demo.steps import STEPS
from isthmus.demo.world import Step, World
from isthmus.errors import UsageError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Line:
    """What one step did, for the table at the end."""

    step: str
    result: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """The table at the end, and where everything was left, if it was kept."""

    lines: tuple[Line, ...]
    seconds: float
    kept: Path | None = None
    facts: dict[str, int] = field(default_factory=dict)


def run_demo(keep: Path | None = None, say: Say = lambda _: None, steps: tuple[Step, ...] = STEPS) -> Report:
    """Do a whole crossing in a directory of its own; raises the first error of any step.

    With `keep`, the directory stays; otherwise nothing does.
    """
    started = time.monotonic()
    lines: list[Line] = []
    with _directory(keep) as directory, ExitStack() as resources:
        world = World(directory=directory, resources=resources)
        for number, step in enumerate(steps, start=1):
            say(f"[{number}/{len(steps)}] {step.title} …")
            begun = time.monotonic()
            result = step.do(world)
            lines.append(Line(step.title, result, time.monotonic() - begun))
            say(f"      {result}")
    return Report(tuple(lines), time.monotonic() - started, keep, dict(world.facts))


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise UsageError("file-exists", "the directory is not empty", where=str(keep), hint="name a new one")
        yield keep
        return
    temporary = Path(tempfile.mkdtemp(prefix="isthmus-demo-"))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
