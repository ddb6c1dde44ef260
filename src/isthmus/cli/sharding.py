"""Options of `mirror` about doing a part of the work. Not here: how it is split (`transfer.shard`)."""

from collections.abc import Callable
from typing import Any

import click

from isthmus.errors import UsageError
from isthmus.transfer.shard import FINISH, WHOLE, Shard


def shard_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that several machines may share."""
    for decorate in (
        click.option(
            "--shard",
            metavar="I/N",
            help="Move only blobs whose digest is of shard I of N, counted from 0 or from 1. Manifests and tags "
            "are put once the blobs of all shards are there, by the shard that ends last or by --finish.",
        ),
        click.option(
            "--finish",
            is_flag=True,
            help="Move no blob: put manifests and tags if all blobs are there, else list the missing and exit 3.",
        ),
    ):
        function = decorate(function)
    return function


def chosen_shard(shard: str | None, finish: bool) -> Shard:
    """What the options ask for; raises UsageError (`wrong-usage`)."""
    if finish and shard is not None:
        raise UsageError("wrong-usage", "--shard moves blobs and --finish moves none: give one of them")
    if finish:
        return FINISH
    return Shard.parse(shard) if shard is not None else WHOLE
