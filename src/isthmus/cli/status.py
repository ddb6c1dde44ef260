"""`isthmus status`: a workspace or a site at a glance, live on a terminal."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.output import human_size
from isthmus.errors import UsageError

if TYPE_CHECKING:
    from isthmus.cli.looking import Looker, Seen, ServeSeen, UnderWay
    from isthmus.content.freshness import Age

_SHOWN = 12
Line = tuple[str, str, str]
"""A label, what is to be said, and a colour or nothing."""


def human_age(seconds: float) -> str:
    """A time for people: `3 d`, `5 h`, `12 min`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


@click.command("status")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    help="Compare with it.  [default: ./isthmus.lock, with --store that in the store]",
)
@click.option(
    "--bundles", multiple=True, type=click.Path(path_type=Path),
    help="Where bundles are packed to. Repeatable.  [default: ./bundles where it is]",
)  # fmt: skip
@click.option("--serve", metavar="URL", default="", help="A server of the site: what it is asked for and lacks.")
@click.option("--ca", type=click.Path(path_type=Path), help="Certificates to trust for --serve, PEM.")
@click.option("--once", is_flag=True, help="Print once and end, on a terminal as well.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between two looks."
)
@common_options
def command(
    run: Run,
    store: Path | None,
    lock: Path | None,
    bundles: tuple[Path, ...],
    serve: str,
    ca: Path | None,
    once: bool,
    every: float,
) -> int:
    """Show lock, store and coverage, bundles, what is under way, ages, what is missing, and open decisions.

    Works outside and inside. On a terminal it is looked at again and again until Ctrl-C. Exit status 3 where
    something is stale or missing.

    \b
    Examples:
      isthmus status
      isthmus status --once
      isthmus status --store /srv/store --serve https://registry.site.internal
      isthmus status --store /srv/store --json
    """
    from isthmus.cli.looking import Looker

    where = store or run.store_path
    usual = DEFAULT_LOCK if store is None else store / DEFAULT_LOCK.name  # unpack puts it there
    known = lock or (usual if usual.is_file() else None)
    if not where.is_dir() and (store is not None or (known is None and not serve)):
        raise UsageError(
            "store-not-found", "there is no store here", where=str(where), hint="isthmus pull makes one"
        )
    default = Path("bundles")
    packed = bundles or ((default,) if default.is_dir() else ())
    looker = Looker(where, known, packed, serve, ca, lambda: _open(run, known))
    if once or run.as_json or not sys.stdout.isatty():
        seen = looker.look()
        run.emit(_document(seen), lambda: _print(seen))
    else:
        seen = _live(looker, every)
    return 0 if seen.is_good else 3


def _open(run: Run, lock: Path | None) -> tuple[str, ...]:
    """Decisions that the site's configuration waits for."""
    from isthmus.cli.reporting import waiting
    from isthmus.inventory.lock import read_lock

    if lock is None:
        return ()
    return tuple(f"{each.what}: {each.why}" for each in waiting(run, read_lock(lock), lock))


def _document(seen: "Seen") -> dict[str, Any]:
    return {
        "lock": seen.lock,
        "store": seen.store,
        "coverage": seen.coverage,
        "things": seen.things,
        "stale": seen.stale,
        "received": seen.received,
        "packed": seen.packed,
        "under_way": seen.under_way,
        "serve": seen.serve,
        "open": seen.open,
    }


def _print(seen: "Seen") -> None:
    for label, text, colour in _lines(seen):
        click.echo(f"{label:<10}  " + (click.style(text, fg=colour) if colour else text))


def _live(looker: "Looker", every: float) -> "Seen":
    """Until Ctrl-C; what was seen last."""
    import time

    from rich.console import Console
    from rich.live import Live

    before: Seen | None = None
    seen = looker.look()
    with Live(_page(seen, None, every), console=Console(), screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(_page(seen, before, every), refresh=True)
                time.sleep(every)
                before, seen = seen, looker.look()
        except KeyboardInterrupt:
            pass
    _print(seen)
    return seen


def _page(seen: "Seen", before: "Seen | None", every: float) -> Any:
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text, colour in _lines(seen, before, every):
        table.add_row(label, Text(text, style=colour))
    good = Text("good", style="green") if seen.is_good else Text("something is missing or stale", style="bold red")
    foot = Text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, every {every:g} s; Ctrl-C ends", style="dim")
    return Panel(Group(table, Text(), foot), title="isthmus status", subtitle=good, title_align="left")


def _lines(seen: "Seen", before: "Seen | None" = None, every: float = 0.0) -> Iterator[Line]:
    if seen.lock:
        yield "lock", f"{seen.lock.path}: {seen.lock.references} references, written {_ago(seen.lock.written)}", ""
    yield from _store_lines(seen)
    for bundle in seen.packed[-3:]:
        text = f"{bundle.path}: {bundle.volumes} volumes, {human_size(bundle.bytes)}, {_ago(bundle.written)}"
        yield "packed", text, ""
    for received in seen.received[-3:]:
        number = f" no. {received.sequence}" if received.sequence is not None else ""
        by = f"signed by {received.signed_by[:16]}" if received.signed_by else "signature not checked"
        text = f"{received.name}{number}, {human_size(received.bytes)}, {_ago(received.at)}, {by}"
        yield "received", text, "" if received.signed_by else "yellow"
    rates = {(e.what, e.name): e.done for e in before.under_way} if before else {}
    for each in seen.under_way:
        colour = "cyan" if each.running else "yellow"
        yield "under way", _progress(each, rates.get((each.what, each.name)), every), colour
    for age in seen.things:
        yield from _age_lines(age)
    if seen.things:
        stale = len(seen.stale)
        yield "ages", f"{len(seen.things)} things become stale, {stale} are", "red" if stale else "green"
    elif seen.store:
        yield "ages", "nothing here becomes stale", ""
    if seen.serve:
        yield from _serve_lines(seen.serve, before.serve if before else None, every)
    for text in seen.open[:_SHOWN]:
        yield "open", text, "yellow"
    if len(seen.open) > _SHOWN:
        yield "open", f"and {len(seen.open) - _SHOWN} more: isthmus report", "yellow"


def _store_lines(seen: "Seen") -> Iterator[Line]:
    if seen.store is None:
        yield "store", "there is none yet: isthmus pull", "yellow"
        return
    store = seen.store
    held = f"{store.references} names, {store.blobs} blobs, {human_size(store.bytes)}"
    yield "store", f"{store.path}: {held}; {human_size(store.free)} free; changed {_ago(store.changed)}", ""
    if seen.coverage is None:
        return
    wrong = [*seen.coverage.missing, *seen.coverage.stale]
    total = seen.lock.references if seen.lock else seen.coverage.present
    yield "coverage", f"{seen.coverage.present} of {total} are there", "red" if wrong else "green"
    for finding in wrong[:_SHOWN]:
        yield "missing", str(finding), "red"
    if len(wrong) > _SHOWN:
        yield "missing", f"and {len(wrong) - _SHOWN} more: isthmus check --store {store.path}", "red"


def _age_lines(age: "Age") -> Iterator[Line]:
    old = "missing" if not age.present else human_age(age.age) if age.age is not None else "of unknown age"
    label = "stale" if age.stale else "fresh"
    yield label, f"{age.name}: {old}, at most {human_age(age.max_age)}", "red" if age.stale else ""
    if age.stale and age.breaks:
        yield "", age.breaks, ""


def _serve_lines(serve: "ServeSeen", before: "ServeSeen | None", every: float) -> Iterator[Line]:
    if serve.problem:
        yield "serve", f"{serve.url}: {serve.problem}", "red"
        return
    numbers = serve.metrics
    text = f"{serve.url}: {numbers.get('isthmus_tags', 0):.0f} tags, "
    text += f"{numbers.get('isthmus_requests_in_progress', 0):.0f} requests now"
    for name, what in (("isthmus_sent_bytes_total", "sent"), ("isthmus_received_bytes_total", "received")):
        text += f", {human_size(numbers.get(name, 0))} {what}"
        if before and every and name in before.metrics:
            text += f" ({human_size(max(0.0, numbers.get(name, 0) - before.metrics[name]) / every)}/s)"
    yield "serve", text, ""
    for item in serve.missing[:_SHOWN]:
        yield "missing", f"{item.get('name', '?')}: asked for {item.get('count', '?')} times", "red"
    if len(serve.missing) > _SHOWN:
        yield "missing", f"and {len(serve.missing) - _SHOWN} more: {serve.url.rstrip('/')}/missing", "red"


def _progress(each: "UnderWay", before: int | None, every: float) -> str:
    amount = human_size(each.done) + (f" of {human_size(each.total)}" if each.total else "")
    text = f"{each.what} {each.name}: {amount}"
    if before is not None and every:
        rate = max(0, each.done - before) / every
        text += f", {human_size(rate)}/s"
        if rate and each.total > each.done:
            text += f", {human_age((each.total - each.done) / rate)} left"
    return text if each.running else f"{text}, stands still"


def _ago(text: str) -> str:
    from isthmus.content.times import seconds_since

    age = seconds_since(text, datetime.now(UTC))
    return f"{human_age(age)} ago" if age is not None else "at an unknown time"
