"""Programs that ask their makers for updates or send them statistics, unless told not to. Likely.

Not here: programs whose settings do not say so (the catalogue of operators).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Endpoint
from isthmus.scan.document import mapping_at, text_at
from isthmus.scan.view import View, endpoint

RULE = "update-check"
_ADVICE = "set check_for_updates, check_for_plugin_updates and reporting_enabled in [analytics] to false"
_OFF = r"^[ \t]*{name}[ \t]*=[ \t]*false"


def find(view: View) -> Iterator[Endpoint]:
    """Grafana's checks, where its configuration leaves them on."""
    if not view.is_config:
        return
    text = text_at(mapping_at(view.document.data, "data"), "grafana.ini")
    if text:
        path = '.data["grafana.ini"]'
        for name, url in (
            ("check_for_updates", "https://grafana.com/"),
            ("reporting_enabled", "https://stats.grafana.org/"),
        ):
            if not re.search(_OFF.format(name=name), text, re.MULTILINE):
                yield endpoint(url, "update-check", view.finding(path, RULE, "likely"), _ADVICE)
