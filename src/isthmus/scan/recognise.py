"""How much a piece of text looks like an image reference.

Not here: where it stands, which says as much as its looks (`words`, `rules/`).
"""

import re
from enum import IntEnum
from functools import lru_cache

from isthmus.errors import IsthmusError
from isthmus.oci import Reference


class Look(IntEnum):
    """`STRONG` has a registry and a tag or digest, `FAIR` two of the three, `WEAK` is a legal name at all."""

    NONE = 0
    WEAK = 1
    FAIR = 2
    STRONG = 3


MAX_TEXT = 512
# Hosts are lowercase here, although the grammar knows others: Go types and events look the same otherwise.
_SHAPE = re.compile(
    r"(?:(?P<host>(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*(?::[0-9]{1,5})?|localhost(?::[0-9]{1,5})?|"
    r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?|[a-z0-9-]+:[0-9]{1,5})/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?P<digest>@sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128}))?",
    re.ASCII,
)
_TAINTS = frozenset({"NoSchedule", "NoExecute", "PreferNoSchedule"})
# Label and annotation prefixes, Go modules, and services inside a cluster are no registries.
_NOT_REGISTRIES = re.compile(
    r"(?:.*\.)?kubernetes\.io|(?!registry\.|k8s\.gcr\.)(?:.*\.)?k8s\.io|(?:www\.)?github\.com|golang\.org|gopkg\.in|"
    r"(?:.*\.)?svc|.*\.svc\.[a-z.]+|.*\.(?:ya?ml|json|go|py|sh|js|conf|txt|md)|.*\.local"
)
_NO_NAMES = re.compile(
    r"true|false|yes|no|on|off|none|null|auto|always|never|ifnotpresent|default|enabled|disabled|latest|images?|"
    r"containers?|docker|host|[0-9./]+"
)
_FILE_ENDING = re.compile(
    r".*\.(?:ya?ml|json|toml|go|py|sh|js|ts|conf|cfg|ini|txt|md|log|sock|pem|crt|key|zip|t?gz|png|svg)"
)


def look(text: str) -> Look:
    """How much `text` looks like an image reference, apart from `docker://` or `oci://` before it."""
    return Look.NONE if len(text) > MAX_TEXT else _look(text.strip())


@lru_cache(maxsize=65536)
def _look(text: str) -> Look:
    if text.startswith(("docker://", "oci://")):
        text = text.partition("://")[2]
    match = _SHAPE.fullmatch(text)
    if match is None:
        return Look.NONE
    host, path, tag, digest = match.group("host", "path", "tag", "digest")
    if not host and not digest and _NO_NAMES.fullmatch(path):
        return Look.NONE
    if (tag in _TAINTS and not digest) or _FILE_ENDING.fullmatch(path):
        return Look.NONE
    if host and _NOT_REGISTRIES.fullmatch(host.partition(":")[0]):
        return Look.NONE
    try:
        Reference.parse(text)
    except IsthmusError:
        return Look.NONE
    return _rate(host, path, tag, digest)


def _rate(host: str | None, path: str, tag: str | None, digest: str | None) -> Look:
    if digest or (host and tag):
        return Look.STRONG
    if host or (tag and "/" in path) or (tag and any(letter.isdigit() for letter in tag)):
        return Look.FAIR
    return Look.WEAK
