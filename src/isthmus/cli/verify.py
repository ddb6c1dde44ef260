"""`isthmus verify`: check volumes and say what is missing or damaged; reads only."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import click

from isthmus.bundle import MissingVolume, Verification, load_public_key, verify, verify_stream
from isthmus.cli.approvals import Approvals, approvals_of
from isthmus.cli.command import Run, common_options
from isthmus.cli.demanding import approval_options, demands_of, identities_of, identity_option
from isthmus.cli.output import human_size
from isthmus.errors import UsageError


@click.command("verify")
@click.argument(
    "bundles", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="BUNDLE…"
)
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="Require a signature by this public key."
)
@identity_option
@approval_options
@common_options
def command(
    run: Run,
    bundles: tuple[Path, ...],
    keys: tuple[Path, ...],
    identity_paths: tuple[Path, ...],
    approver_paths: tuple[Path, ...],
    approval_files: tuple[Path, ...],
) -> int:
    """Check every record of the given volumes, and whether the set is complete. Writes nothing.

    BUNDLE is a directory of volumes or single volumes; - reads them one after the other from standard input.
    Exit status 3 when only volumes are missing, 4 when something is damaged, or not signed or approved as
    required.

    \b
    Examples:
      isthmus verify /media/disc1 /media/disc2 --key isthmus.pub
      isthmus verify bundle/bundle-0003.isv
      isthmus verify bundle/ --identity isthmus.age --key isthmus.pub
    """
    public = [load_public_key(path) for path in keys]
    with run.progress("verify") as report:
        if (source := source_of(bundles, identity_paths)) is not None:
            found = verify_stream(source, public, report)
            if identity_paths:
                found = replace(found, missing=tuple(called_as_sealed(one) for one in found.missing))
        else:
            found = verify(bundles, public, report)
    approvals = approvals_of(demands_of(approver_paths, approval_files, bundles), found.bundle)
    document = {
        "bundle": found.bundle,
        "complete": found.complete,
        "missing": found.missing,
        "damaged": found.damaged,
        "repairable": found.repairable,
        "signed_by": found.signed_by,
        "claimed_by": found.claimed_by,
        "references": found.references,
        "lost": found.lost,
        "approvals": approvals.listed,
        "not_approved_by": approvals.lacking,
    }
    run.emit(document, lambda: _show(found, approvals))
    return 4 if found.damaged or approvals.lacking else 0 if found.complete else 3


def source_of(bundles: tuple[Path, ...], identity_paths: tuple[Path, ...]) -> BinaryIO | None:
    """Standard input, or what is decrypted, as a stream; None for plain files. Raises UsageError."""
    if Path("-") in bundles and len(bundles) > 1:
        raise UsageError("wrong-usage", "either - or files, not both")
    sealed = [file for path in bundles for file in (sorted(path.glob("*.isv.age")) if path.is_dir() else [path])]
    sealed = [file for file in sealed if file.suffix == ".age"]
    if not identity_paths:
        if sealed:
            raise UsageError("wrong-usage", "it is encrypted: give --identity", where=str(sealed[0]))
        return sys.stdin.buffer if Path("-") in bundles else None
    from isthmus.bundle.encryption import DecryptedSource

    if Path("-") not in bundles and not sealed:
        raise UsageError("file-not-found", "there is no encrypted volume (NAME.isv.age) in what was given")
    return cast("BinaryIO", DecryptedSource(sealed or [sys.stdin.buffer], identities_of(identity_paths)))


def called_as_sealed(volume: MissingVolume) -> MissingVolume:
    """A missing volume under the name that `pack` gives to encrypted files; what is in them has another."""
    return replace(volume, file=f"bundle-{volume.volume:04}.isv.age")


def _show(found: Verification, approvals: Approvals) -> None:
    if found.signed_by:
        click.echo(f"signed by {found.signed_by}")
    elif found.claimed_by:
        click.echo(f"says that it is signed by {', '.join(found.claimed_by)}; give --key to verify that")
    elif any(problem.code == "bad-signature" for problem in found.damaged):
        click.secho("not signed by any of the given keys", fg="red")
    else:
        click.echo("not signed")
    approvals.show()
    for problem in found.damaged:
        click.secho(f"damaged: {problem.file}: {problem.message}", fg="red")
        _list(problem.references)
    for volume in found.missing:
        click.secho(f"missing: {volume.file} ({human_size(volume.size)})", fg="yellow")
        _list(volume.references)
    if found.repairable:
        click.secho("parity makes up for all of that: unpack will rebuild it", fg="green")
    elif found.lost and found.lost != found.references:
        click.secho("parity makes up for some of it; these are lost:", fg="red")
        _list(found.lost)
    if found.complete:
        click.secho("complete", fg="green")


def _list(references: tuple[str, ...]) -> None:
    for name in references:
        click.echo(f"  needed by {name}")
