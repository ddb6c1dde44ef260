"""Sums up what the recorder wrote: rows by target, image and process, with what isthmus.yaml says about each.

Not here: recording.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from isthmus.inventory.config import Decided
from isthmus.rehearse.result import Egress

UNKNOWN = "the node itself"


def sum_up(
    attempts: Iterable[Mapping[str, Any]], images: Mapping[str, str], decided: Iterable[Decided]
) -> tuple[Egress, ...]:
    """`attempts` are the recorder's lines; `images` says which image had which address.

    A name that was asked for is a row of its own only where nothing was sent there afterwards.
    """
    counts: dict[tuple[str, int, str, str, str], int] = {}
    for attempt in attempts:
        image = images.get(attempt["source"], UNKNOWN)
        key = (attempt["to"], attempt["port"], attempt["proto"], image, attempt["process"])
        counts[key] = counts.get(key, 0) + 1
    reached = {(to, image) for to, _, proto, image, _ in counts if proto != "dns"}
    rules = tuple(decided)
    return tuple(
        sorted(
            Egress(to, port, proto, image, process, count, _decision(to, port, proto, rules))
            for (to, port, proto, image, process), count in counts.items()
            if proto != "dns" or (to, image) not in reached
        )
    )


def _decision(to: str, port: int, proto: str, rules: tuple[Decided, ...]) -> str:
    for rule in rules:
        parts = urlsplit(rule.endpoint if "://" in rule.endpoint else f"//{rule.endpoint}")
        same_port = parts.port is None or parts.port == port or proto == "dns"
        if parts.hostname and same_port and (to == parts.hostname or to.endswith(f".{parts.hostname}")):
            return rule.decision
    return ""
