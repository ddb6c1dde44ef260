"""What the command line asks of a benchmark."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.images.table import Mode


@dataclass(frozen=True)
class Options:
    """`size` is that of the big blob, in bytes; `peers` names those to compare with, all where it is empty.

    `minutes` are those of `soak`. `only` names those of a benchmark's settings that count, all where it is empty.
    """

    runs: int
    mode: Mode
    size: int
    peers: tuple[str, ...]
    say: Callable[[str], None]
    minutes: float = 2.0
    only: tuple[str, ...] = ()
