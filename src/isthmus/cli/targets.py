"""Where `push` and `mirror` write to: a registry and the mapping of names into it. Not here: copying."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click

from isthmus.cli.connecting import connection_options
from isthmus.cli.output import human_size
from isthmus.errors import UsageError
from isthmus.inventory.mapping import DEFAULT_PREFIX, Mapping, MirrorMap, parse_mapping
from isthmus.oci import Reference
from isthmus.registry import Registry, connect
from isthmus.transfer import CopyResult


@dataclass(frozen=True)
class Target:
    """A registry, and how names map into it."""

    host: str
    registry: Registry
    mapping: MirrorMap

    def name_inside(self, name: str) -> str:
        """What a reference is called there."""
        reference = Reference.parse(name)
        tag = f":{reference.tag}" if reference.tag else f"@{reference.digest}"
        return f"{self.host}/{self.mapping.repository(reference)}{tag}"


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that write to a registry."""
    for decorate in (
        click.option("--to", required=True, metavar="REGISTRY[/PREFIX]", help="The registry to fill."),
        click.option(
            "--mapping",
            type=click.Choice(get_args(Mapping)),
            default="prefix",
            show_default=True,
            help=f"prefix keeps the upstream host in the name (below PREFIX, or {DEFAULT_PREFIX}); flat drops it.",
        ),
        click.option("--dry-run", is_flag=True, help="Say which names would be written; change nothing."),
    ):
        function = decorate(function)
    return function


def split_target(to: str, mapping: str) -> tuple[str, MirrorMap]:
    """The registry's host and the mapping of `REGISTRY[/PREFIX]`; raises UsageError (`wrong-usage`)."""
    if "://" in to:
        raise UsageError("wrong-usage", f"--to {to!r} begins with a scheme", hint="write host[:port][/prefix]")
    host, _, prefix = to.partition("/")
    kind = parse_mapping(mapping)
    if not prefix and kind == "prefix":
        prefix = DEFAULT_PREFIX
    if prefix:
        Reference.parse(f"registry.invalid/{prefix.strip('/')}/check")
    return host, MirrorMap(mapping=kind, prefix=prefix.strip("/"))


@contextmanager
def open_target(
    to: str, mapping: str, ca: Path | None, insecure: bool, plain_http: bool, jobs: int
) -> Iterator[Target]:
    """Connect to the registry to fill; closed at the end of the context."""
    host, mirror_map = split_target(to, mapping)
    registry = connect(host, connection_options(ca, insecure, plain_http, jobs))
    try:
        yield Target(host, registry, mirror_map)
    finally:
        registry.close()


def copy_document(result: CopyResult, target: Target) -> dict[str, Any]:
    """The contract's document of `mirror` and `push`."""
    return {
        "references": result.references,
        "blobs": result.blobs,
        "bytes": result.bytes,
        "mounted": result.mounted,
        "skipped": result.skipped,
        "requests": target.registry.requests,
        "seconds": round(result.seconds, 3),
    }


def show_copy(to: str, result: CopyResult) -> None:
    """The same for people."""
    click.echo(
        f"{to}: {result.references} references, {result.blobs} blobs, {human_size(result.bytes)} "
        f"in {result.seconds:.1f} s; {result.mounted} mounted, {result.skipped} there already"
    )
