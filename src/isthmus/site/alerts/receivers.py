"""Alertmanager's receivers and routes from the short form in isthmus.yaml. Only documents, no files.

prometheus.io/docs/alerting/latest/configuration. Secrets are named as files, never written. Not here: the bridge.
"""

from typing import Any

from isthmus.errors import UsageError
from isthmus.inventory.site_config import AlertsSection, ReceiverSection, SiteSection
from isthmus.site.addresses import host_and_port
from isthmus.site.alerts.address import bridge_url
from isthmus.site.text import without_empty

NOBODY = "null"
SECRETS = "/etc/alertmanager/secrets"


def receivers(site: SiteSection) -> list[dict[str, Any]]:
    """What Alertmanager's `receivers` lists; raises UsageError `invalid-config` for one that is not clear."""
    alerts = site.alerts
    names = [receiver.name for receiver in alerts.receivers]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("invalid-config", f"site.alerts.receivers: {name} is there twice")
    return [_receiver(receiver, bridge_url(site)) for receiver in alerts.receivers]


def main_receiver(alerts: AlertsSection) -> str:
    """The name of who gets everything; raises UsageError `invalid-config` for a name that is not there."""
    names = [receiver.name for receiver in alerts.receivers]
    if alerts.to and alerts.to not in names:
        known = ", ".join(names) or "none"
        raise UsageError(
            "invalid-config", f"site.alerts.to: there is no receiver {alerts.to}", hint=f"there are: {known}"
        )
    return alerts.to or (names[0] if names else NOBODY)


def routes(alerts: AlertsSection) -> list[dict[str, Any]]:
    """The routes below the one that goes to everybody's receiver."""
    main = main_receiver(alerts)
    return [
        without_empty(
            {
                "receiver": receiver.name,
                "matchers": [f'severity=~"{"|".join(receiver.severities)}"'] if receiver.severities else [],
                "continue": True,
            }
        )
        for receiver in alerts.receivers
        if receiver.name != main
    ]


def is_bridged(alerts: AlertsSection) -> bool:
    """Whether something goes to syslog, which Alertmanager does not speak."""
    return any(receiver.syslog for receiver in alerts.receivers)


def _receiver(receiver: ReceiverSection, bridge: str) -> dict[str, Any]:
    given = [kind for kind in ("email", "webhook", "syslog") if getattr(receiver, kind)]
    if len(given) != 1:
        raise UsageError(
            "invalid-config",
            f"site.alerts.receivers: {receiver.name} has {len(given)} of email, webhook and syslog instead of one",
        )
    if receiver.email:
        return {"name": receiver.name, "email_configs": [_email(receiver)]}
    if receiver.webhook:
        return {"name": receiver.name, "webhook_configs": [_webhook(receiver.name, receiver.webhook, receiver)]}
    host, port = host_and_port(receiver.syslog, 514)
    over_tcp = "/tcp" if receiver.syslog.startswith("tcp://") else ""
    url = f"{bridge}/{host}/{port}{over_tcp}"
    return {"name": receiver.name, "webhook_configs": [_webhook(receiver.name, url, None)]}


def _email(receiver: ReceiverSection) -> dict[str, Any]:
    if not receiver.smarthost:
        raise UsageError(
            "invalid-config",
            f"site.alerts.receivers: {receiver.name} has no mail server",
            hint="give smarthost: mail.site.internal:25",
        )
    user = receiver.sender if receiver.auth else ""
    return without_empty(
        {
            "to": receiver.email,
            "from": receiver.sender or f"alertmanager@{receiver.email.rpartition('@')[2]}",
            "smarthost": receiver.smarthost,
            "auth_username": user,
            "auth_password_file": f"{SECRETS}/{receiver.name}" if receiver.auth else "",
            "require_tls": receiver.tls,
            "send_resolved": True,
        }
    )


def _webhook(name: str, url: str, receiver: ReceiverSection | None) -> dict[str, Any]:
    credentials = {}
    if receiver is not None and receiver.auth:
        credentials = {"http_config": {"authorization": {"credentials_file": f"{SECRETS}/{name}"}}}
    return {"url": url, "send_resolved": True, **credentials}
