"""Settings of Alertmanager in the service cluster, from the same short form as everywhere. Not here: the form."""

from collections.abc import Iterator

from isthmus.site.alerts.receivers import SECRETS, main_receiver, receivers, routes
from isthmus.site.ck8s.setting import Setting, service
from isthmus.site.plan import Decision, Site


def settings(site: Site) -> Iterator[Setting]:
    """`alertTo` (the guide's `alertsTo` is refused today), receivers, routes, and no heartbeat to OpsGenie."""
    alerts = site.config.site.alerts
    if not alerts.receivers:
        return
    yield service("alerts.alertTo", main_receiver(alerts))
    yield service("alerts.customReceivers", receivers(site.config.site))
    yield service("alerts.customRoutes", routes(alerts))
    yield service("alerts.opsGenieHeartbeat.enabled", False)


def decisions(site: Site) -> Iterator[Decision]:
    """Receivers that need a secret, for which Compliant Kubernetes has no key."""
    for receiver in site.config.site.alerts.receivers:
        if receiver.auth:
            why = (
                f"the receiver {receiver.name} reads a secret from {SECRETS}/{receiver.name}, which is not mounted"
            )
            hint = "take auth away, or mount it by a patch of your own and waive this (platform.waive)"
            yield Decision(f"site.alerts.receivers.{receiver.name}.auth", why, hint)
