"""Where the bridge from Alertmanager to syslog answers. Not here: the bridge."""

from isthmus.inventory.site_config import SiteSection

BRIDGE_PORT = 9514


def bridge_url(site: SiteSection) -> str:
    """Beside the file server, or on Alertmanager's own machine, where isthmus.yaml says nothing else."""
    if site.alerts.bridge:
        return site.alerts.bridge.rstrip("/")
    return f"http://{site.files.host or '127.0.0.1'}:{BRIDGE_PORT}"
