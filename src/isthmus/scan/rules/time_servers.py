"""Time servers outside: configurations of chrony and ntp, flags and variables for them. Likely.

Not here: time servers of the nodes, which no manifest names.
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_outside
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.rules.arguments import flags
from isthmus.scan.view import View, endpoint
from isthmus.scan.words import words

RULE = "time-server"
ADVICE = "name the site's time servers (site.ntp.servers)"
_LINE = re.compile(r"^[ \t]*(?:server|pool|peer|NTP=|FallbackNTP=)[ \t]*([A-Za-z0-9.-]+)", re.MULTILINE)
_ABOUT_TIME = re.compile(r"\b(?:iburst|driftfile|makestep|rtcsync|NTP=|ntpd?\b)")


def find(view: View) -> Iterator[Endpoint]:
    """Every time server that is not inside by its name."""
    if view.is_config:
        for field in ("data", "stringData"):
            for key, text in mapping_at(view.document.data, field).items():
                if isinstance(text, str) and len(text) < 100_000 and _ABOUT_TIME.search(text):
                    for host in _LINE.findall(text):
                        yield from _server(view, host, f".{field}.{key}")
    for container in view.containers:
        for flag, value in flags(container.data):
            if _is_about_time(flag):
                yield from _server(view, value, container.path)
        for index, variable in enumerate(list_at(container.data, "env")):
            if _is_about_time(text_at(variable, "name")):
                for host in text_at(variable, "value").split(","):
                    yield from _server(view, host.strip(), f"{container.path}.env[{index}].value")


def _is_about_time(name: str) -> bool:
    parts = set(words(name))
    return bool(parts & {"ntp", "chrony"}) and bool(parts & {"server", "servers", "host", "pool"})


def _server(view: View, host: str, path: str) -> Iterator[Endpoint]:
    if re.fullmatch(r"[A-Za-z0-9.-]+(?::\d+)?", host) and is_outside(host):
        yield endpoint(f"ntp://{host}", "time", view.finding(path, RULE, "likely"), ADVICE)
