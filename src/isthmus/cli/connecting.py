"""Options about registries that several commands share, and what they become. Not here: connecting.

What isthmus.yaml says of one host, under `platform.registries` or, of the site's own, under `site.registry`,
holds for that host alone; what the command line says holds for all and wins.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isthmus.errors import UsageError
from isthmus.oci import Platform

if TYPE_CHECKING:
    from isthmus.inventory.config import Config, RegistryAccess
    from isthmus.registry import ConnectionOptions
    from isthmus.transfer import Upstreams


def upstream_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that read from the upstream registries."""
    for decorate in (
        click.option(
            "--upstream",
            "upstreams",
            multiple=True,
            metavar="HOST=URL",
            help="Ask URL for what HOST should give, as quay.io=http://127.0.0.1:5000/quay.io. Repeatable.",
        ),
        click.option(
            "--platform",
            "platforms",
            multiple=True,
            metavar="OS/ARCH",
            help="Carry only images for these platforms; indexes keep their bytes.  [default: all]",
        ),
    ):
        function = decorate(function)
    return trust_options(function)


skip_foreign_option = click.option(
    "--skip-foreign",
    is_flag=True,
    help="Leave out and list the layers that registries need not hold (of Windows images) where none has them.",
)


def trust_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options about TLS and concurrency."""
    for decorate in (
        click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Threads."),
        click.option("--ca", type=click.Path(path_type=Path), help="Certificates to trust, PEM."),
        click.option("--insecure", is_flag=True, help="Do not verify TLS certificates. Say so only if you must."),
        click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS to hosts other than loopback."),
    ):
        function = decorate(function)
    return function


def connection_options(ca: Path | None, insecure: bool, plain_http: bool, jobs: int) -> "ConnectionOptions":
    """The registry room's options from the command line's."""
    from isthmus.registry import ConnectionOptions

    if ca is not None and not os.path.isfile(ca):
        raise UsageError("file-not-found", "there is no such file", where=str(ca))
    return ConnectionOptions(ca_file=ca, insecure=insecure, plain_http=plain_http, max_connections=max(4, jobs))


def host_options(base: "ConnectionOptions", config: "Config | None", host: str) -> "ConnectionOptions":
    """The options for one host, as `host[:port]`; secrets are read only when they are needed."""
    from dataclasses import replace

    from isthmus.registry import NamedSecret

    access = host_access(config, host)
    if access is None:
        return base
    return replace(
        base,
        ca_file=base.ca_file or access.ca or None,
        client_certificate=access.client_certificate or None,
        client_key=access.client_key or None,
        insecure=base.insecure or access.insecure,
        plain_http=base.plain_http or access.plain_http,
        credentials=NamedSecret(access.auth) if access.auth else None,
    )


def host_access(config: "Config | None", host: str) -> "RegistryAccess | None":
    """What isthmus.yaml says of a host; of the site's registry both places are read, the site's own wins."""
    if config is None:
        return None
    import msgspec

    from isthmus.inventory.config import RegistryAccess

    name = host.lower()
    access = next((one for key, one in config.platform.registries.items() if key.lower() == name), None)
    site = config.site.registry
    if not same_host(site.host, host):
        return access
    access = access or RegistryAccess()
    return msgspec.structs.replace(
        access,
        auth=site.auth or access.auth,
        ca=site.ca or access.ca,
        plain_http=access.plain_http or site.insecure or site.host.startswith("http://"),
    )


def same_host(written: str, host: str) -> bool:
    """Whether `site.registry.host`, which may be a URL, is this `host[:port]`."""
    return bool(written) and written.rpartition("://")[2].rstrip("/").lower() == host.lower()


def connect_upstreams(base: "ConnectionOptions", given: tuple[str, ...], config: "Config | None") -> "Upstreams":
    """The upstream registries, each as isthmus.yaml says that it is reached."""
    from isthmus.transfer import Upstreams

    known = config.platform.registries if config else {}
    mirrors = {host: access.mirrors for host, access in known.items() if access.mirrors}
    return Upstreams(lambda host: host_options(base, config, host), parse_upstreams(given, config), mirrors)


def parse_upstreams(given: tuple[str, ...], config: "Config | None") -> Mapping[str, str]:
    """Substitutes by host; the command line wins over isthmus.yaml."""
    found = dict(config.platform.upstreams) if config else {}
    for text in given:
        host, equals, url = text.partition("=")
        if not equals or not host or "://" not in url:
            raise UsageError(
                "wrong-usage", f"--upstream {without_credentials(text)!r} is not of the form HOST=URL"
            )
        found[host] = url
    return found


def without_credentials(text: str) -> str:
    """What may be shown of text that should be a host or a URL, where somebody wrote a password before it."""
    _, at, rest = text.rpartition("@")
    return f"***@{rest[:200]}" if at else text[:200]


def parse_platforms(given: tuple[str, ...], config: "Config | None") -> tuple[Platform, ...]:
    """What to carry; empty means all."""
    texts = given or (tuple(config.platform.architectures) if config else ())
    return tuple(Platform.parse(text) for text in texts)
