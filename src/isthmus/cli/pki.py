"""`isthmus pki`: the site's certificate authority."""

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.command import Run, common_options, parse_duration
from isthmus.errors import UsageError

if TYPE_CHECKING:
    from isthmus.inventory.site_config import SiteSection
    from isthmus.site.pki.authority import Authority

_directory = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="The authority.  [default: isthmus.yaml, or pki]"
)
_passphrase = click.option(
    "--passphrase", metavar="env:NAME|file:PATH", help="What the authority's keys are, or get, encrypted with."
)


@click.group("pki")
def command() -> None:
    """Make the site's certificate authority, and certificates for its servers.

    \b
    Examples:
      isthmus pki init
      isthmus pki issue
      isthmus pki renew --within 60d
    """


@command.command("init")
@click.option("--domain", help="What the authority is for.  [default: site.domain in isthmus.yaml]")
@_directory
@_passphrase
@common_options
def init(run: Run, domain: str | None, directory: Path | None, passphrase: str | None) -> int:
    """Make a root and an issuing CA below it. Nothing is overwritten.

    Both may certify only the site's domain and addresses, as isthmus.yaml has them (site.pki). Keep root.key
    away from the site: it is needed only to make a new issuing CA. ca.pem is what everything inside trusts.

    \b
    Examples:
      isthmus pki init
      isthmus pki init --domain site.internal --dir pki --passphrase env:PKI_PASSPHRASE
    """
    authority = _authority(run, directory, passphrase, domain)
    paths = authority.create()
    lines = [str(path) for path in paths]
    run.emit({"files": lines, "trust": str(authority.trust)}, "\n".join(f"wrote {line}" for line in lines))
    return 0


@command.command("issue")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--name", help="What its directory is called.  [default: the first NAME]")
@click.option("--client", is_flag=True, help="May be shown by a client, too.")
@click.option("--life", help="How long it lasts, such as 90d.  [default: isthmus.yaml, or 365d]")
@_directory
@_passphrase
@common_options
def issue(
    run: Run,
    names: tuple[str, ...],
    name: str | None,
    client: bool,
    life: str | None,
    directory: Path | None,
    passphrase: str | None,
) -> int:
    """Make a key and a certificate for DNS names and addresses, or for all servers of isthmus.yaml.

    PKI/issued/NAME gets tls.key, tls.crt (with the issuing CA) and ca.crt.

    \b
    Examples:
      isthmus pki issue
      isthmus pki issue registry.site.internal 10.65.131.137
      isthmus pki issue '*.apps.site.internal' --name apps --life 90d
    """
    from isthmus.site.pki.settings import servers_of

    authority = _existing(run, directory, passphrase)
    seconds = parse_duration(life) if life else None
    if names:
        wanted = {name or names[0]: names}
    else:
        wanted = {
            server: needed
            for server, needed in servers_of(_site(run)).items()
            if not (authority.directory / "issued" / server / "tls.crt").exists()
        }
    made = {
        server: authority.issue(server, needed, client=client, life=seconds) for server, needed in wanted.items()
    }
    document = {
        "issued": [
            {"name": server, "names": list(wanted[server]), "directory": str(place)}
            for server, place in made.items()
        ]
    }
    lines = [f"{place}: {', '.join(wanted[server])}" for server, place in made.items()]
    run.emit(document, "\n".join(lines) or "nothing to issue: every server of isthmus.yaml has a certificate")
    return 0


@command.command("renew")
@click.option("--within", default="30d", show_default=True, help="Renew what ends sooner than this.")
@_directory
@_passphrase
@common_options
def renew(run: Run, within: str, directory: Path | None, passphrase: str | None) -> int:
    """Make new certificates, with new keys, for what ends soon. A server has to read its files again.

    \b
    Examples:
      isthmus pki renew
      isthmus pki renew --within 90d --passphrase file:passphrase.txt
    """
    authority = _existing(run, directory, passphrase)
    renewed = authority.renew(parse_duration(within))
    run.emit(
        {"renewed": list(renewed)}, "\n".join(f"renewed {name}" for name in renewed) or "nothing ends that soon"
    )
    return 0


@command.command("list")
@click.option("--within", default="30d", show_default=True, help="Exit with 3 where something ends sooner.")
@_directory
@common_options
def show(run: Run, within: str, directory: Path | None) -> int:
    """Show every certificate and how long it still lasts.

    \b
    Example:
      isthmus pki list --within 60d
    """
    authority = _existing(run, directory, None)
    now = dt.datetime.now(dt.UTC)
    limit = parse_duration(within) / 86400
    rows = [(issued, issued.days_left(now)) for issued in authority.list()]
    document = [
        {
            "name": issued.name,
            "names": list(issued.names),
            "path": issued.path,
            "until": issued.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "days": int(left),
            "due": left < limit,
        }
        for issued, left in rows
    ]

    def say() -> None:
        for issued, left in rows:
            mark = "ended" if left < 0 else "due" if left < limit else "good"
            click.echo(f"{mark:5}  {int(left):5} days  {issued.name}  {', '.join(issued.names)}".rstrip())

    run.emit({"certificates": document}, say)
    return 3 if any(left < limit for _, left in rows) else 0


def _authority(run: Run, directory: Path | None, passphrase: str | None, domain: str | None = None) -> "Authority":
    import msgspec

    from isthmus.site.pki.authority import Authority
    from isthmus.site.pki.settings import settings_of

    site = _site(run)
    if domain:
        site = msgspec.structs.replace(site, domain=domain)
    return Authority(directory or Path(site.pki.directory), settings_of(site), _secret(passphrase))


def _existing(run: Run, directory: Path | None, passphrase: str | None) -> "Authority":
    """The authority as it is: what it may certify is in its own certificate."""
    from isthmus.site.pki.authority import open_authority
    from isthmus.site.pki.settings import lives_and_key

    site = _site(run)
    return open_authority(directory or Path(site.pki.directory), lives_and_key(site), _secret(passphrase))


def _site(run: Run) -> "SiteSection":
    from isthmus.inventory.site_config import SiteSection

    config = run.config()
    return config.site if config else SiteSection()


def _secret(reference: str | None) -> bytes | None:
    if reference is None:
        return None
    kind, _, name = reference.partition(":")
    if kind == "env" and os.environ.get(name):
        return os.environ[name].encode()
    if kind == "file":
        try:
            text = Path(name).read_bytes().strip()
        except OSError as error:
            raise UsageError("file-not-found", f"it cannot be read: {error.strerror}", where=name) from error
        if text:
            return text
    raise UsageError(
        "wrong-usage",
        f"there is no passphrase in {kind}:{name}" if kind in ("env", "file") else "not a place for a passphrase",
        hint="write env:NAME or file:PATH",
    )
