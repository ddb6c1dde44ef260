"""What people and machines see: messages and progress on standard error, results on standard output.

With `--json`, standard output carries exactly one JSON document. Not here: what is said.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from isthmus.errors import IsthmusError
from isthmus.progress import Progress, silent

MAX_LISTED = 40
"""Items of an error that are shown to people; `--json` has all."""


def fail(error: IsthmusError, as_json: bool) -> int:
    """Show an error and return its exit status."""
    if as_json:
        emit_json(error.as_document())
    click.secho(f"error[{error.code}]: {error}", fg="red", err=True)
    # Items that are documents are for machines; their message says the same to people.
    lines = [item for item in error.items if isinstance(item, str)]
    for line in lines[:MAX_LISTED]:
        click.echo(f"  - {line}", err=True)
    if len(lines) > MAX_LISTED:
        click.echo(f"  … and {len(lines) - MAX_LISTED} more; --json lists all", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)
    return error.status


def emit_json(document: Any) -> None:
    """Print one JSON document on standard output, with sorted keys nowhere changed."""
    click.echo(msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2))


def counted(count: int, noun: str) -> str:
    """So many of something, for people: `1 blob`, `2 blobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def human_size(count: float) -> str:
    """Bytes for people, in powers of 1000: `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} PB"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; plain columns where that is no terminal."""
    if not sys.stdout.isatty():
        widths = [max(len(str(row[i])) for row in (columns, *rows)) for i in range(len(columns))]
        click.echo(title)
        for row in (columns, *rows):
            cells = (str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo(f"  {'  '.join(cells).rstrip()}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


@contextmanager
def progress_bar(label: str, quiet: bool, unit: str = "bytes") -> Iterator[Progress]:
    """A bar with rate and time left on a terminal, a plain line every few seconds otherwise."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _rich_bar(label, unit) as report:
            yield report
    else:
        yield _plain_lines(label, unit)


@contextmanager
def _rich_bar(label: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    amounts = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    columns = (TextColumn("{task.description}"), BarColumn(), *amounts, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def report(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{label} {what[-40:]}".strip())

        yield report


def _plain_lines(label: str, unit: str, every: float = 5.0) -> Progress:
    """Reports at most once in `every` seconds, so that logs stay short."""
    started = last = time.monotonic()

    def report(done: int, total: int, _: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every:
            return
        last = now
        rate = done / max(now - started, 0.001)
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        if unit == "bytes":
            amount = f"{human_size(done)} of {human_size(total)}, {human_size(rate)}/s"
        else:
            amount = f"{done} of {total}"
        click.echo(f"{label}: {amount}{left}", err=True)

    return report
