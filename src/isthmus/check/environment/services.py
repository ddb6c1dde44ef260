"""Questions to what a site runs: registry, file server, identity provider, object storage; and certificates."""

import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import msgspec

from isthmus.check.environment import s3, web
from isthmus.check.environment.probe import TIMEOUT, Outcome, Question

_TRUST_HINT = "isthmus configure --only trust, then trust/install.sh on this machine"


class Service(msgspec.Struct, frozen=True):
    """A server by its URL, and its address where the site knows it."""

    url: str
    address: str = ""


def trust_question(service: Service) -> Question:
    """Whether this operating system trusts the server's certificate as it is."""
    parts = urlsplit(service.url)
    host, port = parts.hostname or "", parts.port or 443

    def ask() -> tuple[Outcome, str, str]:
        context = ssl.create_default_context()
        with socket.create_connection((service.address or host, port), TIMEOUT) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=host) as secured:
                    shown: Any = secured.getpeercert()
            except ssl.SSLCertVerificationError as error:
                return "fail", error.verify_message or str(error), _TRUST_HINT
        issuer = dict(pair for part in shown.get("issuer", ()) for pair in part)
        return "pass", f"trusted, by {issuer.get('commonName', 'its CA')}", ""

    return Question("trust-os", f"{host}:{port}: its certificate", ask)


def registry_question(service: Service, ca: str) -> Question:
    """Whether a registry answers (distribution-spec, "Determining Support")."""
    url = f"{service.url.rstrip('/')}/v2/"

    def ask() -> tuple[Outcome, str, str]:
        reply = web.ask("GET", url, web.context_for(ca), address=service.address)
        if reply.status == 200:
            return "pass", "200: a registry", ""
        if reply.status == 401:
            scheme = reply.headers.get("www-authenticate", "").partition(" ")[0]
            return "pass", f"401: a registry that asks for credentials ({scheme or 'unnamed'})", ""
        return "fail", f"{reply.status}: no registry", ""

    return Question("registry", url, ask)


def files_question(service: Service, ca: str) -> Question:
    """Whether the file server answers, whatever it has at its top."""

    def ask() -> tuple[Outcome, str, str]:
        reply = web.ask("HEAD", service.url, web.context_for(ca), address=service.address)
        return ("pass" if reply.status < 500 else "fail"), f"{reply.status}", ""

    return Question("files", service.url, ask)


def issuer_question(service: Service, ca: str) -> Question:
    """Whether the discovery document is there, names this issuer, and leads to keys (OpenID Discovery, 4)."""
    url = f"{service.url.rstrip('/')}/.well-known/openid-configuration"

    def ask() -> tuple[Outcome, str, str]:
        context = web.context_for(ca)
        reply = web.ask("GET", url, context, address=service.address)
        if reply.status != 200:
            return "fail", f"{reply.status}", "site.identity.issuer"
        document = _object(reply.body)
        if document.get("issuer") != service.url:
            said = str(document.get("issuer"))[:200]
            return (
                "fail",
                f"it calls itself {said}",
                "the issuer is compared letter by letter, a slash at the end too",
            )
        missing = [
            key for key in ("jwks_uri", "authorization_endpoint", "token_endpoint") if not document.get(key)
        ]
        if missing:
            return "fail", f"it does not say {', '.join(missing)}", ""
        keys_url = str(document["jwks_uri"])
        same = urlsplit(keys_url).netloc == urlsplit(url).netloc
        keys = web.ask("GET", keys_url, context, address=service.address if same else "")
        held = _object(keys.body).get("keys") if keys.status == 200 else None
        if not isinstance(held, list) or not held:
            return "fail", f"its keys are not at {keys_url[:200]} ({keys.status})", ""
        return "pass", f"issuer {service.url}, {len(held)} key{'s' if len(held) > 1 else ''}", ""

    return Question("oidc", url, ask)


def storage_question(service: Service, ca: str) -> Question:
    """Whether an object storage answers at all; without a signature it refuses, or lists what is public."""

    def ask() -> tuple[Outcome, str, str]:
        reply = web.ask("GET", f"{service.url.rstrip('/')}/", web.context_for(ca), address=service.address)
        known = reply.status in (200, 204, 301, 307, 400, 401, 403)
        return ("pass" if known else "fail"), f"{reply.status}{'' if known else ': no object storage'}", ""

    return Question("s3", service.url, ask)


def locking_question(account: s3.Account, ca: str) -> Question:
    """Whether the keys are taken, and object lock is understood: backups are to outlive whoever breaks in."""

    def ask() -> tuple[Outcome, str, str]:
        context = web.context_for(ca)
        names = s3.buckets(account, context)
        if not names:
            return "skip", "the keys are taken; there is no bucket to ask about", "make one with object lock"
        found = s3.locking(account, names, context)
        if found.refused:
            return (
                "fail",
                f"object lock is not understood: {', '.join(found.refused)}",
                "use another object storage",
            )
        answer = (
            f"{len(found.locked)} of {found.buckets} buckets have object lock, {len(found.versioned)} versions"
        )
        hint = "" if found.locked else "it is chosen when a bucket is made"
        return "pass", answer, hint

    return Question("s3-object-lock", f"{account.endpoint}: buckets, their object lock and versioning", ask)


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found
