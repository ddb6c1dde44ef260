"""`isthmus check`: prove that everything in the lock is there."""

from pathlib import Path

import click

from isthmus.check import check, check_store
from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import connection_options, host_options, trust_options
from isthmus.cli.siting import site_options, site_registry
from isthmus.cli.targets import stand_ins
from isthmus.inventory.lock import read_lock
from isthmus.registry import connect
from isthmus.store import Store


@click.command("check")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_LOCK,
    show_default=True,
    help="What must be there.",
)
@click.option("--store", type=click.Path(path_type=Path), help="Look into this store instead of a registry.")
@site_options
@trust_options
@common_options
def command(
    run: Run,
    lock_path: Path,
    store: Path | None,
    registry: str | None,
    mapping: str | None,
    prefix: str | None,
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Ask the site's registry for every reference of the lock, by digest, under its name inside.

    Exit status 3 where anything is missing, or where a tag points to something else.

    \b
    Examples:
      isthmus check --registry registry.site.internal
      isthmus check --store /srv/store --lock isthmus.lock
    """
    lock = read_lock(lock_path)
    if store is not None:
        with Store.open(store) as held:
            result = check_store(lock.references, held)
    else:
        site = site_registry(run.config(), registry, mapping, prefix)
        trusted = ca or (Path(site.ca) if site.ca else None)
        options = connection_options(trusted, insecure, plain_http or site.url.startswith("http://"), jobs)
        target = connect(site.host, host_options(options, run.config(), site.host))
        try:
            known = stand_ins(run, site.host)
            result = check(lock.references, target, site.mapping, max(jobs, 8), stand_ins=known)
        finally:
            target.close()
    document = {"present": result.present, "missing": result.missing, "stale": result.stale}

    def show() -> None:
        for item in result.missing:
            click.secho(f"missing: {item}", fg="red")
        for item in result.stale:
            click.secho(f"stale: {item}", fg="yellow")
        click.echo(f"{result.present} of {len(lock.references)} references are there")

    run.emit(document, show)
    return 3 if result.missing or result.stale else 0
