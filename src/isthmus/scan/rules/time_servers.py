"""Time servers outside: configurations of chrony and ntp, flags and variables for them. Likely.

Not here: time servers of the nodes, which no manifest names.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_outside
from isthmus.scan.document import mapping_at
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
    for argument in view.arguments:
        if _is_about_time(argument.flag):
            yield from _server(view, argument.value, argument.path)
    for variable in view.variables:
        if _is_about_time(variable.name):
            for host in variable.value.split(","):
                yield from _server(view, host.strip(), variable.path)


@lru_cache(maxsize=4096)
def _is_about_time(name: str) -> bool:
    parts = set(words(name))
    return bool(parts & {"ntp", "chrony"}) and bool(parts & {"server", "servers", "host", "pool"})


def _server(view: View, host: str, path: str) -> Iterator[Endpoint]:
    if re.fullmatch(r"[A-Za-z0-9.-]+(?::\d+)?", host) and is_outside(host):
        yield endpoint(f"ntp://{host}", "time", view.finding(path, RULE, "likely"), ADVICE)
