"""Addresses in settings: which lead outside, and how to show them without secrets.

Not here: what they are for (`rules/`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from isthmus.scan.paths import index_path, key_path

_URL = re.compile(r"\b(?:https?|ftp|s3|git|ssh|ldaps?)://[^\s\"'`<>|\\^{}\[\](),;]+", re.IGNORECASE)
_INSIDE = re.compile(
    r"localhost|.*\.(?:svc|local|localdomain|internal|intranet|lan|home\.arpa|test|example|invalid|corp|private)|"
    r"(?:.*\.)?example\.(?:com|org|net)|.*\.svc\..*|.*\.cluster\..*",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:]*")
_TOP_LEVEL = re.compile(
    r"(?:[a-z0-9_-]+\.)+(?:[a-z]{2}|com|net|org|info|biz|edu|gov|mil|int|dev|app|cloud|online|site|tech|systems|"
    r"network|software|xyz|build|run|page|zone|google|azure|amazon|aws|goog|microsoft|tools|health|solutions|email)"
)
_PRIVATE = re.compile(r"(?:10|127|169\.254|192\.168|172\.(?:1[6-9]|2[0-9]|3[01])|0)\..*|\[?(?:::1|f[cde].*)\]?")
MAX_DEPTH = 100
MAX_HOST = 253


class Leaf(msgspec.Struct, frozen=True):
    """A piece of text in settings, with its key and the mapping that it stands in."""

    path: str
    key: str
    text: str
    parent: Mapping[str, Any]


def leaves(data: Any, path: str = "", key: str = "", depth: int = 0) -> Iterator[Leaf]:
    """Every text in settings; elements of a list have the key of the list."""
    yield from _leaves(data, path, key, {}, depth)


def mappings(data: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping in settings, outer ones first."""
    if depth > MAX_DEPTH:
        return
    if isinstance(data, dict):
        yield path, data
        for key, value in data.items():
            if isinstance(value, dict | list):
                yield from mappings(value, key_path(path, key), depth + 1)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            if isinstance(value, dict | list):
                yield from mappings(value, index_path(path, index), depth + 1)


def urls_in(text: str) -> Iterator[str]:
    """Every address in a text, without the punctuation behind it."""
    for match in _URL.finditer(text):
        yield match.group().rstrip(".,;:!?")


def is_url(text: str) -> bool:
    """Whether the whole text is one address."""
    return _URL.fullmatch(text.strip()) is not None


def is_outside(url: str) -> bool:
    """Whether an address leads out of the cluster and its site, as far as its name tells."""
    host = host_of(url)
    if len(host) > MAX_HOST or _INSIDE.fullmatch(host) or _PRIVATE.fullmatch(host):
        return False
    # `prometheus.monitoring` is a service in a namespace.
    return bool(_TOP_LEVEL.fullmatch(host) or _ADDRESS.fullmatch(host))


def host_of(url: str) -> str:
    """The host of an address, in lowercase, or nothing."""
    try:
        return (urlsplit(url if "://" in url else f"//{url}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def without_secrets(url: str, *, keep_path: bool = True) -> str:
    """The address without user, password, query and fragment; webhooks have their secret in the path as well."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path if keep_path else '/'}"


def _leaves(data: Any, path: str, key: str, parent: Mapping[str, Any], depth: int) -> Iterator[Leaf]:
    if depth > MAX_DEPTH:
        return
    if isinstance(data, str):
        yield Leaf(path, key, data, parent)
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, key_path(path, name), name, data, depth + 1)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, index_path(path, index), key, parent, depth + 1)
