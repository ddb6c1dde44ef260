"""Image names in settings: custom resources, values, and what ConfigMaps and Secrets hold.

A walk over plain objects that knows keys, split fields, name and value pairs, and what is turned off. Not
here: what is settings and what is not (`rules/`), and arguments and variables of containers.
"""

from collections.abc import Mapping
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


def mentions(data: Any, path: str = "") -> list[Mention]:
    """Every image that these settings name, except in what is turned off or only compared with."""
    found: list[Mention] = []
    _walk(data, _Place(path), "", found)
    return found


def is_off(mapping: Mapping[str, Any]) -> bool:
    """Whether the mapping says of itself that it is not in use."""
    for key in ("enabled", "enable", "install", "create", "deploy"):
        if mapping.get(key) in (False, "false", "False"):
            return True
    if mapping.get("disabled") in (True, "true", "True"):
        return True
    return mapping.get("managementState") == "Removed"


class _Place:
    """Where the walk is; its path is written only where something is found."""

    __slots__ = ("depth", "root", "step", "up")

    def __init__(self, root: str, up: "_Place | None" = None, step: str | int = "") -> None:
        self.root = root
        self.up = up
        self.step = step
        self.depth: int = up.depth + 1 if up else 0

    def at(self, step: str | int) -> "_Place":
        return _Place(self.root, self, step)

    def steps(self) -> list[str | int]:
        steps: list[str | int] = []
        place: _Place | None = self
        while place is not None and place.up is not None:
            steps.append(place.step)
            place = place.up
        return steps[::-1]

    def path(self) -> str:
        path = self.root
        for step in self.steps():
            path = index_path(path, step) if isinstance(step, int) else key_path(path, step)
        return path

    def pattern(self) -> tuple[str, ...]:
        return tuple("[]" if isinstance(step, int) else step for step in self.steps())


def _walk(data: Any, place: _Place, key: str, found: list[Mention]) -> None:
    if place.depth > MAX_DEPTH:
        return
    if isinstance(data, dict):
        if not is_off(data):
            _mapping(data, place, key, found)
    elif isinstance(data, list):
        for index, item in enumerate(data):
            if isinstance(item, str):
                _text(key, item, place, index, found)
            elif isinstance(item, dict | list):
                _walk(item, place.at(index), key, found)


def _mapping(data: Mapping[str, Any], place: _Place, parent: str, found: list[Mention]) -> None:
    used: set[str] = set()
    for joined in joined_names(data, parent):
        is_likely = joined.sure and (joined.look is Look.STRONG or "/" in joined.text or names_image(parent))
        if joined.sure:
            used.update(joined.keys)
        found.append(
            Mention(
                path="+".join(key_path(place.path(), key) for key in joined.keys),
                text=joined.text,
                confidence="likely" if is_likely else "possible",
                pattern=place.at(joined.keys[0]).pattern(),
                note="put together from " + ", ".join(joined.keys),
            )
        )
    pair = _pair_name(data)
    for key, value in data.items():
        if key in used or key in _PROSE or key[:1] == "_" or is_policy(key):
            continue
        if isinstance(value, str):
            name = key
            if pair and key in _PAIR_VALUES:
                name = pair
            elif key in _NAMING and names_image(parent):
                name = parent
            _text(name, value, place, key, found)
        elif isinstance(value, dict | list):
            _walk(value, place.at(key), key, found)


def _pair_name(data: Mapping[str, Any]) -> str:
    name = data.get("name")
    return name if isinstance(name, str) and any(key in data for key in _PAIR_VALUES) else ""


def _text(key: str, text: str, place: _Place, step: str | int, found: list[Mention]) -> None:
    seen = look(text)
    if seen is Look.NONE:
        return
    is_image = names_image(key)
    if is_image or (seen is Look.STRONG and not is_policy(key)):
        here = place.at(step)
        is_likely = is_image and seen is not Look.WEAK
        note = "" if is_image else "looks like an image, the key does not say so"
        found.append(Mention(here.path(), text, "likely" if is_likely else "possible", here.pattern(), note, key))
