"""`alerts/`: Alertmanager's configuration, kube-prometheus-stack's values for the same, and the syslog bridge.

Not here: Compliant Kubernetes' keys (`ck8s`), and the rules that say when something is stale (`freshness`).
"""

from dataclasses import replace
from typing import Any

from isthmus.site.alerts.bridge import bridge_files
from isthmus.site.alerts.freshness import becomes_stale, freshness_files
from isthmus.site.alerts.receivers import NOBODY, SECRETS, is_bridged, main_receiver, receivers, routes
from isthmus.site.output import OutputFile
from isthmus.site.plan import Decision, Part, Site
from isthmus.site.text import without_empty, yaml_text


def configure(site: Site) -> Part:
    """The files; a decision where nobody gets alerts, since a site that is cut off needs somebody who looks."""
    told = _receivers(site)
    if becomes_stale(site):
        return replace(told, files=(*told.files, *freshness_files(site)))
    return replace(told, notes=(*told.notes, "alerts: no rules, as nothing of the lock becomes stale"))


def _receivers(site: Site) -> Part:
    alerts = site.config.site.alerts
    if not alerts.receivers:
        if not site.config.site.domain:
            return Part(notes=("alerts: not written, as isthmus.yaml names no receiver",))
        why = "nobody gets alerts, and the usual services on the Internet cannot be reached"
        hint = "a name with email and smarthost, webhook, or syslog"
        return Part(decisions=(Decision("site.alerts.receivers", why, hint),))
    document = alertmanager(site)
    values = {"alertmanager": {"config": document}}
    secret = [receiver.name for receiver in alerts.receivers if receiver.auth]
    where = (f"Secrets are read from {SECRETS}/NAME: {', '.join(secret)}.",) if secret else ()
    files = [
        OutputFile(
            "alerts/alertmanager.yaml",
            yaml_text(document, "amtool check-config alertmanager.yaml", *where).encode(),
        ),
        OutputFile(
            "alerts/kube-prometheus-stack.yaml", yaml_text(values, "Values for the chart.", *where).encode()
        ),
    ]
    if is_bridged(alerts):
        files += bridge_files()
    return Part(tuple(files))


def alertmanager(site: Site) -> dict[str, Any]:
    """The whole configuration; a receiver for nothing takes the watchdog, which only a dead man's switch wants."""
    alerts = site.config.site.alerts
    watchdog = {"receiver": NOBODY, "matchers": ['alertname="Watchdog"']}
    return {
        "route": without_empty(
            {
                "receiver": main_receiver(alerts),
                "group_by": ["alertname", "cluster", "namespace"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": "12h",
                "routes": [watchdog, *routes(alerts)],
            }
        ),
        "receivers": [{"name": NOBODY}, *receivers(site.config.site)],
    }
