"""`isthmus export`: write images of a store into a file for docker, podman and containerd."""

import sys
from pathlib import Path
from typing import Any, get_args

import click

from isthmus.cli.command import Run, common_options
from isthmus.cli.connecting import parse_platforms
from isthmus.cli.output import counted, human_size
from isthmus.errors import UsageError
from isthmus.store import Store
from isthmus.transfer.archive import Exported, write_archive
from isthmus.transfer.archive.selecting import find_references
from isthmus.transfer.archive.writing import Format


@click.command("export")
@click.argument("references", nargs=-1, metavar="[REFERENCE…]")
@click.option("--out", required=True, metavar="FILE", help="The tar to write; - is standard output.")
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="docker",
    show_default=True,
    help="docker: for docker load, podman load and ctr. oci: a layout alone, with signatures.",
)
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="Only images for these; docker load gets the first.  [default: what the store has]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written; change nothing.")
@common_options
def command(
    run: Run,
    references: tuple[str, ...],
    out: str,
    form: Format,
    store: Path | None,
    platforms: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Write images into one file that other tools load under their original names.

    The same images give the same bytes, each layer once. Without REFERENCE, everything in the store.

    \b
    Examples:
      isthmus export --out images.tar registry.k8s.io/pause:3.10 docker.io/library/nginx:1.27
      isthmus export --out - nginx:1.27 | ssh node ctr -n k8s.io images import -
    """
    stream = out == "-"
    if stream and run.as_json:
        raise UsageError("wrong-usage", "with --out - the archive takes standard output, and --json has no room")
    with Store.open(store or run.store_path) as held, run.progress("export") as report:
        result = write_archive(
            held,
            find_references(held, references),
            sys.stdout.buffer if stream else Path(out),
            form,
            parse_platforms(platforms, None),
            report,
            dry_run,
        )
    if stream:
        for line in _lines(out, result, dry_run):
            run.note(line)
        return 0
    run.emit(_document(out, form, result, dry_run), "\n".join(_lines(out, result, dry_run)))
    return 0


def _document(out: str, form: str, result: Exported, dry_run: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": out,
        "format": form,
        "images": result.images,
        "blobs": result.blobs,
        "bytes": result.bytes,
        "referrers_left_out": result.referrers_left_out,
        "seconds": round(result.seconds, 3),
    }
    return {"dry_run": True, **document} if dry_run else document


def _lines(out: str, result: Exported, dry_run: bool) -> list[str]:
    would = "would write " if dry_run else ""
    amount = f"{counted(len(result.images), 'image')}, {counted(result.blobs, 'blob')}, {human_size(result.bytes)}"
    lines = [f"{would}{out}: {amount}"]
    for image in result.images:
        if image.tags and image.name not in image.tags:
            lines.append(f"  {image.name}: docker load calls it {', '.join(image.tags)}")
        if image.not_for_docker:
            lines.append(f"  {image.name}: not for docker load: {image.not_for_docker}")
        lines += [f"  {image.name}: without the foreign layer {digest}" for digest in image.absent]
    if result.referrers_left_out:
        left = f"left out, as signatures and SBOMs: {counted(result.referrers_left_out, 'artifact')}"
        lines.append(f"  {left}; --format oci carries them")
    return lines
