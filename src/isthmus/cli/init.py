"""`isthmus init`: write a commented isthmus.yaml."""

from importlib import resources
from pathlib import Path

import click

from isthmus.cli.command import Run, common_options
from isthmus.errors import UsageError


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path), default=".", metavar="[DIR]")
@click.option(
    "--preset",
    type=click.Choice(["generic", "ck8s"]),
    default="generic",
    show_default=True,
    help="What to start from.",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@common_options
def command(run: Run, directory: Path, preset: str, force: bool) -> int:
    """Write an isthmus.yaml that says what each key is for.

    \b
    Example:
      isthmus init --preset ck8s my-platform/
    """
    target = directory / "isthmus.yaml"
    if target.exists() and not force:
        raise UsageError(
            "file-exists", "the file is there already", where=str(target), hint="--force overwrites it"
        )
    text = resources.files("isthmus.inventory").joinpath("presets", f"{preset}.yaml").read_text(encoding="utf-8")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError("invalid-input", f"cannot write: {error.strerror}", where=str(target)) from error
    run.emit({"file": str(target)}, f"wrote {target}; edit it, then run 'isthmus scan'")
    return 0
