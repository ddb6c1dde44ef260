"""Parsing the `Link` header (RFC 8288) as far as pagination needs it. Pure."""

import re

_TARGET = re.compile(r"[ \t,]*<([^<>]*)>", re.ASCII)
_PARAMETER = re.compile(
    r'[ \t]*;[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t,;"]*)))?'
)


def next_link(header: str) -> str | None:
    """The target of the first link whose relation is `next`; None where there is none, or nonsense."""
    position = 0
    while target := _TARGET.match(header, position):
        position = target.end()
        relations = None
        while parameter := _PARAMETER.match(header, position):
            position = parameter.end()
            if parameter[1].lower() == "rel" and relations is None:
                relations = (parameter[2] if parameter[2] is not None else parameter[3] or "").lower().split()
        if relations and "next" in relations:
            return target[1]
    return None
