"""Asking for the next disc on a terminal, until a bundle is complete. Not here: unpacking.

Nothing is asked where nobody could answer: then what is missing is an error, as ever.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from isthmus.bundle import open_volume
from isthmus.bundle.volumeset import list_volumes
from isthmus.cli.output import human_size
from isthmus.errors import IncompleteError, IsthmusError, VerificationError

T = TypeVar("T")

_SHOWN: Final = 10
_TRY_ANOTHER: Final = frozenset(
    {"file-not-found", "invalid-input", "io-failed", "damaged-volume", "foreign-volume"}
)
"""What another disc, or the same one wiped clean, can make good."""


def can_ask(bundles: tuple[Path, ...], *, as_json: bool) -> bool:
    """Whether somebody is there who changes discs."""
    return not as_json and Path("-") not in bundles and sys.stdin.isatty() and sys.stderr.isatty()


def disc_by_disc(bundles: tuple[Path, ...], attempt: Callable[[tuple[Path, ...]], T]) -> T:
    """Attempt it with the discs that are in, and again with each next one, until it is complete.

    Raises what the last attempt raised where the person gives up; at once whatever no disc can make good.
    """
    try:
        return attempt(bundles)
    except IncompleteError as error:
        if error.code != "missing-volume":
            raise
        missing = error
    bundle = _bundle_in(bundles)
    while True:
        places = _next_places(bundles, missing)
        try:
            _require_bundle(places, bundle)
            return attempt(places)
        except IsthmusError as error:
            if isinstance(error, IncompleteError) and error.code == "missing-volume":
                missing = error
            elif error.code in _TRY_ANOTHER:
                click.secho(f"{error}", fg="red", err=True)
            else:
                raise


def _next_places(bundles: tuple[Path, ...], missing: IncompleteError) -> tuple[Path, ...]:
    """Where to look next; raises the error where the answer is to stop."""
    count = len(missing.items)
    click.echo(f"{count} volume{'s are' if count > 1 else ' is'} still needed, in any order:", err=True)
    for volume in missing.items[:_SHOWN]:
        click.echo(f"  {volume['file']} ({human_size(volume['size'])})", err=True)
    if count > _SHOWN:
        click.echo(f"  … and {count - _SHOWN} more", err=True)
    question = "Insert the next disc and press Enter (or type where it is; q to stop)"
    try:
        answer = click.prompt(question, default="", show_default=False, err=True).strip()
    except click.Abort:
        raise missing from None
    if answer.lower() in ("q", "quit"):
        raise missing
    if answer:
        return (Path(answer).expanduser(),)
    return tuple(path if path.exists() else path.parent for path in bundles)


def _bundle_in(places: tuple[Path, ...]) -> str | None:
    """The id of the bundle whose volumes are there; None where they are encrypted, or none is intact."""
    try:
        files = list_volumes(places)
    except IsthmusError:
        return None
    for file in files:
        try:
            return open_volume(file).bundle
        except IsthmusError:
            continue
    return None


def _require_bundle(places: tuple[Path, ...], bundle: str | None) -> None:
    found = _bundle_in(places)
    if bundle and found and found != bundle:
        where = ", ".join(map(str, places))
        raise VerificationError("foreign-volume", f"that is a disc of another bundle ({found[:16]})", where=where)
