"""Image names in settings: custom resources, values, and what ConfigMaps and Secrets hold.

A walk over plain objects that knows keys, split fields, name and value pairs, and what is turned off. Not
here: what is settings and what is not (`rules/`), and arguments and variables of containers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from isthmus.inventory.model import Confidence
from isthmus.scan.paths import index_path, key_path
from isthmus.scan.recognise import Look, look
from isthmus.scan.split_fields import joined_names
from isthmus.scan.words import is_policy, names_image

MAX_DEPTH = 100
_PROSE = frozenset(
    {"description", "documentation", "summary", "message", "help", "title", "displayName", "status"}
)
_NAMING = frozenset({"name", "ref", "reference", "uri", "url", "image", "fullName"})
_PAIR_VALUES = ("value", "default")


class Mention(msgspec.Struct, frozen=True):
    """Text that names an image, as far as its key and looks tell.

    `pattern` is its path without numbers, `key` the name that it stands under.
    """

    path: str
    text: str
    confidence: Confidence
    pattern: tuple[str, ...] = ()
    note: str = ""
    key: str = ""


def mentions(data: Any, path: str = "") -> Iterator[Mention]:
    """Every image that these settings name, except in what is turned off or only compared with."""
    yield from _walk(data, path, "", (), 0)


def is_off(mapping: Mapping[str, Any]) -> bool:
    """Whether the mapping says of itself that it is not in use."""
    for key in ("enabled", "enable", "install", "create", "deploy"):
        if mapping.get(key) in (False, "false", "False"):
            return True
    if mapping.get("disabled") in (True, "true", "True"):
        return True
    return mapping.get("managementState") == "Removed"


def _walk(data: Any, path: str, key: str, pattern: tuple[str, ...], depth: int) -> Iterator[Mention]:
    if depth > MAX_DEPTH:
        return
    if isinstance(data, dict):
        if not is_off(data):
            yield from _mapping(data, path, key, pattern, depth)
    elif isinstance(data, list):
        for index, item in enumerate(data):
            place = index_path(path, index)
            if isinstance(item, str):
                yield from _text(key, item, place, (*pattern, "[]"))
            elif isinstance(item, dict | list):
                yield from _walk(item, place, key, (*pattern, "[]"), depth + 1)


def _mapping(
    data: Mapping[str, Any], path: str, parent: str, pattern: tuple[str, ...], depth: int
) -> Iterator[Mention]:
    used: set[str] = set()
    for joined in joined_names(data, parent):
        is_likely = joined.sure and (joined.look is Look.STRONG or "/" in joined.text or names_image(parent))
        if joined.sure:
            used.update(joined.keys)
        note = "put together from " + ", ".join(joined.keys)
        last = joined.keys[0]
        place = "+".join(key_path(path, key) for key in joined.keys)
        yield Mention(place, joined.text, "likely" if is_likely else "possible", (*pattern, last), note)
    pair = _pair_name(data)
    for key, value in data.items():
        if key in used or key in _PROSE or key.startswith("_") or is_policy(key):
            continue
        place, below = key_path(path, key), (*pattern, key)
        if isinstance(value, str):
            name = key
            if key in _PAIR_VALUES and pair:
                name = pair
            elif key in _NAMING and names_image(parent):
                name = parent
            yield from _text(name, value, place, below)
        elif isinstance(value, dict | list):
            yield from _walk(value, place, key, below, depth + 1)


def _pair_name(data: Mapping[str, Any]) -> str:
    name = data.get("name")
    return name if isinstance(name, str) and any(key in data for key in _PAIR_VALUES) else ""


def _text(key: str, text: str, path: str, pattern: tuple[str, ...]) -> Iterator[Mention]:
    if len(text) > 512 or "\n" in text.strip():
        return
    seen = look(text)
    if seen is Look.NONE:
        return
    if names_image(key):
        yield Mention(path, text, "possible" if seen is Look.WEAK else "likely", pattern, key=key)
    elif seen is Look.STRONG and not is_policy(key):
        yield Mention(path, text, "possible", pattern, "looks like an image, the key does not say so")
