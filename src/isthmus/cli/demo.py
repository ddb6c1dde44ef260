"""`isthmus demo`: do a whole crossing on this machine."""

from pathlib import Path

import click

from isthmus.cli.command import Run, common_options
from isthmus.cli.output import print_table


@click.command("demo")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave everything in this directory to look at.")
@common_options
def command(run: Run, keep: Path | None) -> int:
    """Build an upstream registry and a site on this machine and carry a small platform across.

    Needs no root, no Internet and no container engine; takes well under a minute; loses nothing.

    \b
    Examples:
      isthmus demo
      isthmus demo --keep /tmp/crossing
    """
    from isthmus.demo.run import run_demo

    report = run_demo(keep, run.note)
    document = {
        "steps": [{"step": line.step, "result": line.result, "seconds": line.seconds} for line in report.lines],
        "seconds": report.seconds,
        **report.facts,
    }

    def show() -> None:
        rows = [(line.step, line.result, f"{line.seconds:.1f} s") for line in report.lines]
        print_table("A whole crossing", ("step", "what came of it", "time"), rows)
        facts = report.facts
        click.secho(
            f"found {facts['found']}, carried {facts['carried']} blobs, served {facts['served']}, "
            f"proved {facts['proved']}, in {report.seconds:.1f} s",
            fg="green",
        )

    run.emit(document, show)
    return 0
