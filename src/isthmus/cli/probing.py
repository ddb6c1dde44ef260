"""`check --environment`: what the site has, from isthmus.yaml. Not here: asking (`check.environment`)."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.asking import Where, is_local
from isthmus.cli.siting import SiteRegistry
from isthmus.errors import UsageError

if TYPE_CHECKING:
    from isthmus.check.environment import Contract
    from isthmus.check.environment.contract import Receiver
    from isthmus.check.environment.s3 import Account
    from isthmus.inventory.config import Config
    from isthmus.inventory.site_config import ReceiverSection
    from isthmus.site.plan import Site


def probe(where: Where, upload: str) -> int:
    """Ask, and show what came back; the exit status. Raises UsageError where no site is known."""
    from isthmus.check.environment import probes, run

    config = where.run.config()
    known = where.site() if where.given or (config and config.site.registry.host) else None
    if config is None and known is None:
        hint = "isthmus.yaml says what the site has; isthmus init writes one"
        raise UsageError("wrong-usage", "there is no isthmus.yaml, and no --registry", hint=hint)
    site = site_here(where.run.config(), known, where.ca)
    found = run(probes(contract_of(site, upload)))
    failed = [each for each in found if each.outcome == "fail"]

    def show() -> None:
        colours = {"pass": "green", "fail": "red", "skip": "yellow"}
        for each in found:
            mark = click.style(each.outcome, fg=colours[each.outcome])
            click.echo(f"{mark}  {each.what:<16}  {each.asked}: {each.answer}")
            if each.outcome == "fail" and each.hint:
                click.echo(f"      {'':<16}  {each.hint}")
        skipped = sum(each.outcome == "skip" for each in found)
        passed = len(found) - len(failed) - skipped
        click.echo(f"{passed} as it has to be, {len(failed)} not, {skipped} not asked")

    document = {"passed": sum(each.outcome == "pass" for each in found), "failed": len(failed), "probes": found}
    where.run.emit(document, show)
    return 3 if failed else 0


def contract_of(site: "Site", upload: str) -> "Contract":
    """The site's side of the contract, from isthmus.yaml."""
    from isthmus.check.environment import Contract
    from isthmus.check.environment.services import Service
    from isthmus.site.addresses import server, servers
    from isthmus.site.dns.records import records

    section = site.config.site

    def service(url: str, what: str) -> Service | None:
        if not url:
            return None
        known = server(site, what)
        return Service(url, next(iter(known.addresses), "") if known else "")

    return Contract(
        names={record.name: record.addresses for record in records(site)},
        name_servers=section.dns.servers,
        time_servers=section.ntp.servers,
        registry=service(site.registry, "registry"),
        files=service(site.files_url, "files"),
        upload=upload,
        issuer=service(section.identity.issuer or "", "identity"),
        storage=service(section.object_storage.endpoint or "", "object-storage"),
        account=_account(site),
        receivers=tuple(_receiver(receiver) for receiver in section.alerts.receivers),
        ca=site.ca.decode("ascii", "replace") if site.ca else "",
        policies={each.name: each.networks for each in servers(site) if each.name and not is_local(each.name)},
    )


def site_here(given: "Config | None", registry: SiteRegistry | None, ca: Path | None) -> "Site":
    """The site as isthmus.yaml has it, without a lock."""
    from isthmus.inventory.config import Config
    from isthmus.inventory.mapping import MirrorMap
    from isthmus.site.plan import Site

    config = given or Config()
    made = Path(config.site.pki.directory) / "ca.pem"
    path = ca or Path(registry.ca if registry and registry.ca else made)
    if ca is not None and not ca.is_file():
        raise UsageError("file-not-found", "there is no such file", where=str(ca))
    return Site(
        config=config,
        registry=registry.url if registry else "",
        mapping=registry.mapping if registry else MirrorMap(),
        ca=path.read_bytes() if path.is_file() else None,
    )


def _account(site: "Site") -> "Account | None":
    from isthmus.check.environment.s3 import Account
    from isthmus.registry import NamedSecret
    from isthmus.site.addresses import server

    section = site.config.site.object_storage
    if not section.endpoint or not section.auth:
        return None
    found = NamedSecret(section.auth).find(section.endpoint, "")
    if found is None or not found.username:
        raise UsageError("invalid-config", "site.object_storage.auth does not lead to ACCESS_KEY:SECRET_KEY")
    known = server(site, "object-storage")
    address = next(iter(known.addresses), "") if known else ""
    return Account(section.endpoint, section.region or "us-east-1", found.username, found.password, address)


def _receiver(receiver: "ReceiverSection") -> "Receiver":
    from isthmus.check.environment.contract import Receiver

    address = next((text for text in receiver.addresses if "/" not in text), "")
    if receiver.webhook:
        return Receiver(receiver.name, "webhook", receiver.webhook, address)
    if receiver.syslog:
        scheme, _, place = receiver.syslog.rpartition("://")
        return Receiver(receiver.name, "syslog-tcp" if scheme == "tcp" else "syslog-udp", place, address)
    return Receiver(receiver.name, "email", receiver.smarthost, address)
