"""`isthmus status`: how old what becomes stale is."""

from datetime import UTC, datetime
from pathlib import Path

import click

from isthmus.cli.command import Run, common_options


def human_age(seconds: float) -> str:
    """A time for people: `3 d`, `5 h`, `12 min`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


@click.command("status")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@common_options
def command(run: Run, store: Path | None) -> int:
    """Tell the age of databases, rules and indexes that become stale, and what breaks then.

    Works outside and inside. Exit status 3 where something is stale or missing.

    \b
    Examples:
      isthmus status
      isthmus status --store /srv/store --json
    """
    from isthmus.content.freshness import Age, ages
    from isthmus.store import Store

    now = datetime.now(UTC)
    with Store.open(store or run.store_path) as held:
        found = ages(held, now)
    stale = [age.name for age in found if age.stale]

    def line(age: Age) -> None:
        old = "missing" if not age.present else human_age(age.age) if age.age is not None else "of unknown age"
        text = f"{'stale' if age.stale else 'fresh'}: {age.name}: {old}, at most {human_age(age.max_age)}"
        click.secho(text, fg="red" if age.stale else None)
        if age.stale and age.breaks:
            click.echo(f"       {age.breaks}")

    def show() -> None:
        for age in found:
            line(age)
        click.echo(
            f"{len(found)} things become stale, {len(stale)} are" if found else "nothing here becomes stale"
        )

    run.emit({"things": found, "stale": stale}, show)
    return 3 if stale else 0
