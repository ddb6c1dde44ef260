"""What a closed site must keep, as questions to ask: made from names and addresses that the caller knows.

Not here: reading isthmus.yaml (`cli`), and how each question is asked (the other modules).
"""

from collections.abc import Iterator, Mapping

import msgspec

from isthmus.check.environment import naming, receivers, services
from isthmus.check.environment.naming import OUTSIDE
from isthmus.check.environment.probe import Question, skipped
from isthmus.check.environment.s3 import Account
from isthmus.check.environment.services import Service

__all__ = ["OUTSIDE", "Contract", "Receiver", "Service", "probes"]

Receiver = receivers.Receiver


class Contract(msgspec.Struct, frozen=True):
    """The site's side. Names map to the addresses that they must have; a port follows an address as in `host:53`.

    `ca` is the site's CA (PEM). `upload` is `ssh://[user@]host[:port]`, or only a host whose port 22 is looked at.
    `policies` has the networks (CIDR) that NetworkPolicies and the firewall are written with, by server.
    """

    names: Mapping[str, tuple[str, ...]] = {}
    name_servers: tuple[str, ...] = ()
    outside: tuple[str, ...] = OUTSIDE
    time_servers: tuple[str, ...] = ()
    registry: Service | None = None
    files: Service | None = None
    upload: str = ""
    issuer: Service | None = None
    storage: Service | None = None
    account: Account | None = None
    receivers: tuple[Receiver, ...] = ()
    ca: str = ""
    policies: Mapping[str, tuple[str, ...]] = {}


def probes(contract: Contract) -> tuple[Question, ...]:
    """Every question, in the order in which a site is built: time, names, trust, services, alerts."""
    return tuple(_probes(contract))


def _probes(contract: Contract) -> Iterator[Question]:
    yield from _time(contract)
    yield from _names(contract)
    yield from _trust(contract)
    yield from _services(contract)
    yield from _alerts(contract)


def _time(contract: Contract) -> Iterator[Question]:
    if not contract.time_servers:
        yield skipped("ntp", "the site's time servers", "isthmus.yaml names none", "site.ntp.servers")
    for server in contract.time_servers:
        yield naming.time_question(server, contract.names)


def _names(contract: Contract) -> Iterator[Question]:
    for name, networks in sorted(contract.policies.items()):
        yield naming.policy_question(contract.name_servers, name, networks)
    if not contract.name_servers:
        yield skipped("dns", "the site's name servers", "isthmus.yaml names none", "site.dns.servers")
        return
    for server in contract.name_servers:
        if not contract.names:
            yield skipped("dns", f"{server}: the site's names", "isthmus.yaml gives no name an address")
        for name, addresses in sorted(contract.names.items()):
            yield naming.inside_question(server, name, addresses)
        for name in contract.outside:
            yield naming.outside_question(server, name)


def _trust(contract: Contract) -> Iterator[Question]:
    asked = (contract.registry, contract.files, contract.issuer, contract.storage)
    secured = [service for service in asked if service and service.url.startswith("https://")]
    if not secured:
        yield skipped("trust-os", "certificates, by what this system trusts", "no server of the site speaks TLS")
    for service in secured:
        yield services.trust_question(service)
    yield skipped(
        "trust-containers",
        "whether containers trust the site's CA",
        "only seen inside of a cluster",
        "kubectl get configmap site-ca -A; isthmus configure --only trust writes it",
    )


def _services(contract: Contract) -> Iterator[Question]:
    ca = contract.ca
    if contract.registry:
        yield services.registry_question(contract.registry, ca)
    else:
        yield skipped("registry", "the site's registry", "isthmus.yaml names none", "site.registry.host")
    if contract.files:
        yield services.files_question(contract.files, ca)
        yield receivers.upload_question(contract.upload, contract.files)
    else:
        yield skipped("files", "the site's file server", "isthmus.yaml names none", "site.files.host")
    if contract.issuer:
        yield services.issuer_question(contract.issuer, ca)
    else:
        yield skipped("oidc", "the identity provider", "isthmus.yaml names none", "site.identity.issuer")
    if contract.storage is None:
        yield skipped("s3", "the object storage", "isthmus.yaml names none", "site.object_storage.endpoint")
        return
    yield services.storage_question(contract.storage, ca)
    if contract.account is None:
        why = "needs keys"
        yield skipped("s3-object-lock", f"{contract.storage.url}: object lock", why, "site.object_storage.auth")
    else:
        yield services.locking_question(contract.account, ca)


def _alerts(contract: Contract) -> Iterator[Question]:
    if not contract.receivers:
        yield skipped("alerts", "who gets alerts", "isthmus.yaml names nobody", "site.alerts.receivers")
    for receiver in contract.receivers:
        yield receivers.receiver_question(receiver, contract.ca)
