"""What all commands share: the common options, and `Run`, which carries them into a command.

Not here: any command.
"""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from isthmus.cli.output import emit_json, progress_bar
from isthmus.errors import UsageError
from isthmus.progress import Progress

if TYPE_CHECKING:
    from isthmus.inventory.config import Config
    from isthmus.inventory.model import Inventory

DEFAULT_FILE = Path("isthmus.yaml")
DEFAULT_WORKSPACE = Path(".isthmus")
DEFAULT_LOCK = Path("isthmus.lock")


@dataclass(frozen=True)
class Run:
    """The common options of one run.

    `collect` gets results instead of standard output, and `scanned` what sources were found to need, where one
    command runs others (`cross`).
    """

    as_json: bool
    verbosity: int
    quiet: bool
    file: Path | None
    workspace: Path
    collect: Callable[[Any], None] | None = None
    scanned: "dict[tuple[str, ...], Inventory] | None" = None

    @property
    def store_path(self) -> Path:
        """Where the store of this workspace is."""
        return self.workspace / "store"

    def config(self) -> "Config | None":
        """isthmus.yaml, where one was named or is in the current directory; read once a run."""
        return self._config

    @cached_property
    def _config(self) -> "Config | None":
        if self.file is None and not DEFAULT_FILE.exists():
            return None
        from isthmus.inventory.config_file import load_config

        return load_config(self.file or DEFAULT_FILE)

    def emit(self, document: Any, say: Callable[[], None] | str) -> None:
        """The result: a JSON document, or whatever `say` prints for people."""
        if self.collect is not None:
            self.collect(document)
        if self.as_json:
            if self.collect is None:
                emit_json(document)
        elif callable(say):
            say()
        else:
            click.echo(say)

    def note(self, message: str) -> None:
        """A line for people, on standard error; not with -q."""
        if not self.quiet:
            click.echo(message, err=True)

    def progress(self, label: str, unit: str = "bytes") -> AbstractContextManager[Progress]:
        """A progress display for the length of the context."""
        return progress_bar(label, self.quiet, unit)


fsync_option: Final = click.option(
    "--fsync", is_flag=True, help="Have every byte on the medium before it counts, whatever the system buffers."
)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that every command takes; it gets them as its first argument, a `Run`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
    @click.option("-v", "--verbose", count=True, help="Say more; twice for debugging.")
    @click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
    @click.option(
        "-f",
        "--file",
        type=click.Path(path_type=Path),
        help="The platform file.  [default: ./isthmus.yaml if present]",
    )
    @click.option(
        "--workspace",
        type=click.Path(path_type=Path),
        default=DEFAULT_WORKSPACE,
        show_default=True,
        help="Where store, state and cache are.",
    )
    def wrapped(as_json: bool, verbose: int, quiet: bool, file: Path | None, workspace: Path, **rest: Any) -> Any:
        if verbose:  # warnings come without
            import logging

            level = logging.INFO if verbose == 1 else logging.DEBUG
            logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
        context = click.get_current_context(silent=True)
        shared = context.find_object(Run) if context else None
        _collect_from_now_on()
        return function(shared or Run(as_json, verbose, quiet, file, workspace), **rest)

    wrapped.__name__ = function.__name__
    wrapped.__doc__ = function.__doc__
    wrapped.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(wrapped, "__click_params__", []),
        *getattr(function, "__click_params__", []),
    ]
    return wrapped


def _collect_from_now_on() -> None:
    """Search for garbage only in what the command itself makes, and less often than by default."""
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)
        gc.enable()


def parse_size(text: str) -> int:
    """Bytes from `650MB`, `4GiB`, `2TB` or a plain number; raises UsageError (`invalid-size`)."""
    units = {"": 1, "b": 1}
    for power, letter in enumerate("kmgt", start=1):
        units |= {letter: 1000**power, f"{letter}b": 1000**power, f"{letter}ib": 1024**power}
    stripped = text.strip().lower()
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = stripped[len(digits) :].strip()
    try:
        value = float(digits) * units[unit]
    except (ValueError, KeyError):
        raise UsageError("invalid-size", f"not a size: {text!r}", hint="write 650MB, 4GiB or 1000000") from None
    if not 0 < value < 2**63:
        raise UsageError("invalid-size", f"not a usable size: {text!r}")
    return int(value)


def parse_duration(text: str) -> float:
    """Seconds from `90s`, `10m`, `24h` or `7d`; raises UsageError (`wrong-usage`)."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    stripped = text.strip().lower()
    try:
        value = float(stripped[:-1]) * units[stripped[-1:]]
    except (ValueError, KeyError):
        raise UsageError("wrong-usage", f"not a duration: {text!r}", hint="write 90s, 10m, 24h or 7d") from None
    if not 0 <= value < 2**31:
        raise UsageError("wrong-usage", f"not a usable duration: {text!r}")
    return value
