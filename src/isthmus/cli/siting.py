"""Options about the site's registry, from the command line or from isthmus.yaml. Not here: configuring."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from isthmus.cli.connecting import without_credentials
from isthmus.errors import UsageError
from isthmus.inventory.mapping import DEFAULT_PREFIX, Mapping, MirrorMap, parse_mapping
from isthmus.oci import Reference

if TYPE_CHECKING:
    from isthmus.inventory.config import Config


@dataclass(frozen=True)
class SiteRegistry:
    """Where the site's registry is, as `https://host[:port]`, and how names map into it."""

    url: str
    mapping: MirrorMap
    ca: str = ""

    @property
    def host(self) -> str:
        """The host, with its port where one is given."""
        return self.url.partition("://")[2]


def site_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that need to know the site's registry."""
    for decorate in (
        click.option(
            "--registry",
            metavar="[http://|https://]HOST[:PORT]",
            help="The site's registry.  [default: isthmus.yaml]",
        ),
        click.option(
            "--mapping",
            type=click.Choice(get_args(Mapping)),
            help="How names map.  [default: isthmus.yaml, or prefix]",
        ),
        click.option(
            "--prefix", help=f"The path before every name.  [default: isthmus.yaml, or {DEFAULT_PREFIX}]"
        ),
    ):
        function = decorate(function)
    return function


def site_registry(
    config: "Config | None", registry: str | None, mapping: str | None, prefix: str | None
) -> SiteRegistry:
    """What the options and isthmus.yaml say together; raises UsageError (`wrong-usage`) where neither does."""
    section = config.site.registry if config else None
    host = registry or (section.host if section else "")
    if not host:
        raise UsageError(
            "wrong-usage",
            "the site's registry is not known",
            hint="give --registry, or site.registry.host in isthmus.yaml",
        )
    plain = bool(section and section.insecure and not registry)
    url = host.rstrip("/") if "://" in host else f"{'http' if plain else 'https'}://{host.rstrip('/')}"
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or "/" in rest or "@" in rest or not rest:
        raise UsageError(
            "wrong-usage",
            f"not a registry: {without_credentials(host)!r}",
            hint="write host[:port], without a path (--prefix) and without credentials",
        )
    kind = parse_mapping(mapping or (section.mapping if section else "prefix"))
    fallback = DEFAULT_PREFIX if kind == "prefix" else ""
    if prefix is None:
        prefix = section.prefix if section and not registry else fallback
    return SiteRegistry(url, MirrorMap(mapping=kind, prefix=checked_prefix(prefix)), section.ca if section else "")


def checked_prefix(prefix: str) -> str:
    """A path before every name, without slashes at its ends; raises UsageError (`wrong-usage`)."""
    path = prefix.strip("/")
    try:
        if path:
            Reference.parse(f"registry.invalid/{path}/check")
    except UsageError as error:
        raise UsageError(
            "wrong-usage",
            f"no name in a registry can begin with {path[:100]!r}",
            hint="a prefix is of lowercase letters and digits, with single . _ - or / between them",
        ) from error
    return path
