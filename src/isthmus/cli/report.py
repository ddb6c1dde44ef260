"""`isthmus report`: everything that is known of a platform, on one page and in forms for machines."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import trust_options
from isthmus.cli.siting import site_options
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import read_lock

if TYPE_CHECKING:
    from isthmus.report.platform import PlatformReport


@click.command("report")
@click.option(
    "--out", "outs", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Where to write; its ending is the form: .html .json .csv .cdx.json .vex.json .sarif .xml. Repeatable.",
)  # fmt: skip
@click.option(
    "--format", "form", metavar="FORM",
    help="html, json, csv, cyclonedx, openvex, sarif or junit, whatever the ending of --out.",
)  # fmt: skip
@click.option(
    "--lock", "lock_path", type=click.Path(path_type=Path), default=DEFAULT_LOCK, show_default=True,
    help="What the platform needs.",
)  # fmt: skip
@click.option(
    "--store", type=click.Path(path_type=Path),
    help="Look into this store for coverage, ages and bundles.  [default: WORKSPACE/store where it is]",
)  # fmt: skip
@click.option("--inventory", type=click.Path(path_type=Path), help="What scan --out wrote: endpoints, unresolved.")
@click.option("--rehearsal", type=click.Path(path_type=Path), help="What rehearse --out FILE.json wrote.")
@click.option("--previous", metavar="OTHER.LOCK", type=click.Path(path_type=Path), help="Say what changed since.")
@click.option(
    "--bundles", multiple=True, type=click.Path(path_type=Path),
    help="A directory with bundles' release.json and approvals, or with such directories. Repeatable.",
)  # fmt: skip
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="Who may approve. Repeatable.")
@click.option("--vex", multiple=True, type=click.Path(path_type=Path), help="OpenVEX to pass on, too. Repeatable.")
@site_options
@trust_options
@common_options
def command(
    run: Run,
    outs: tuple[Path, ...],
    form: str | None,
    lock_path: Path,
    store: Path | None,
    inventory: Path | None,
    rehearsal: Path | None,
    previous: Path | None,
    bundles: tuple[Path, ...],
    keys: tuple[Path, ...],
    vex: tuple[Path, ...],
    registry: str | None,
    mapping: str | None,
    prefix: str | None,
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Write what the platform needs, whether it is there, what crossed and who approved, and what is open.

    The page is one file without scripts that prints on A4; the same input gives the same bytes. Coverage is that
    of the store, or with --registry of the site's registry. Exit status 3 where anything is open; it is written
    all the same.

    \b
    Examples:
      isthmus report --out report.html
      isthmus report --registry registry.site.internal --rehearsal run.json --out report.html --out report.sarif
      isthmus report --inventory scan.json --previous last.lock --bundles carried/ --key officer.pub --out r.html
    """
    from isthmus.cli import reporting
    from isthmus.cli.asking import lock_for
    from isthmus.report.platform import make_report
    from isthmus.report.platform.forms import FORMATS, format_of, write

    if form is not None and form not in FORMATS:
        raise UsageError("wrong-usage", f"no such form: {form[:40]!r}", hint=f"one of {', '.join(FORMATS)}")
    forms = [(path, form or format_of(path.name)) for path in outs]
    lock_path = lock_for(lock_path, reporting.store_of(run, store))
    lock = read_lock(lock_path)
    asked = reporting.Asked(store, inventory, rehearsal, previous, bundles, keys)
    site = reporting.Site(registry, mapping, prefix, jobs, ca, insecure, plain_http)
    report = make_report(lock, reporting.known(run, lock, lock_path, asked, site))
    documents = reporting.vex_documents(run, lock, store, vex) if any(f == "openvex" for _, f in forms) else []
    for path, each in forms:
        _replace(path, write(report, each, documents))
    run.emit(report, lambda: _show(report, outs))
    return 3 if report.open else 0


def _replace(path: Path, data: bytes) -> None:
    """Under its name at once or not at all."""
    import os
    import tempfile

    try:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".isthmus-report-", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.replace(file.name, path)
            except OSError:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(path)) from error


def _show(report: "PlatformReport", outs: tuple[Path, ...]) -> None:
    from collections import Counter

    from isthmus.cli.output import human_size

    for path in outs:
        click.echo(f"wrote {path}")
    click.echo(f"{len(report.needed)} things are needed, {human_size(report.size)}")
    if report.checked:
        click.echo(f"{report.present} of {len(report.needed)} are there ({report.checked})")
    for rule, count in sorted(Counter(each.rule for each in report.open).items()):
        click.secho(f"open: {count} × {rule}", fg="yellow")
    if not outs:
        for each in report.open[:40]:
            click.echo(f"  {each.rule}: {each.what}: {each.why}")
    if not report.open:
        click.echo("nothing is open")
