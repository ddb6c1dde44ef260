"""Settings inside text: YAML, JSON, TOML, properties, in ConfigMaps, Secrets and custom resources.

Not here: what is looked for in them (`settings`, `rules/`).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from isthmus.errors import IsthmusError
from isthmus.scan.document import mapping_at
from isthmus.scan.paths import inside, key_path
from isthmus.scan.yaml_reader import parse, split

MAX_TEXT = 4 << 20
_YAML_LINE = re.compile(r"^[ \t]*(?:- )?[\"']?[A-Za-z_][\w./-]*[\"']?:(?:[ \t]|$)", re.MULTILINE)
_PROPERTY = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=(.*)$", re.MULTILINE)
_HAS_PROPERTY = re.compile(r"^[ \t]*(?:export[ \t]+)?[A-Za-z_][\w.-]*[ \t]*=", re.MULTILINE)
# Large texts that hold none of these words hold nothing that a rule looks for, and need no parsing.
_OF_INTEREST = re.compile(
    r"image|repositor|registry|apiVersion|_configs|artifact|acme|issuer|ntp|pool |server |url|endpoint|plugin",
    re.IGNORECASE,
)
_DASHBOARD = re.compile(r'"(?:panels|templating|schemaVersion)"\s*:')


class Tree(msgspec.Struct, frozen=True):
    """Settings and where they are; `form` is the form of the text they were in, or nothing."""

    path: str
    data: Any
    form: str = ""


class Text(msgspec.Struct, frozen=True):
    """Text that is not of any known form."""

    path: str
    text: str
    key: str = ""


def config_trees(data: Mapping[str, Any]) -> Iterator[Tree | Text]:
    """What a ConfigMap or Secret holds: its entries as one flat tree, then what is inside each entry."""
    for field, values in _fields(data):
        flat = {key: text for key, (_, text) in values.items() if not _is_structured(text)}
        yield Tree(f".{field}", flat)
        for key, (suffix, text) in values.items():
            if _is_structured(text):
                yield from trees_in(text, key_path(f".{field}", key) + suffix, key)


def _is_structured(text: str) -> bool:
    return "\n" in text.strip() or text.lstrip()[:1] in ("{", "[") or _YAML_LINE.match(text) is not None


def trees_in(text: str, path: str, name: str = "") -> Iterator[Tree | Text]:
    """The trees in one text; text of no known form comes out as it is."""
    if len(text) > MAX_TEXT or not _OF_INTEREST.search(text) or _DASHBOARD.search(text[:200_000]):
        return
    ending = name.rpartition(".")[2].lower()
    if ending == "toml":
        tree = _toml(text)
        if tree is not None:
            yield Tree(inside(path, "toml"), tree, "toml")
            return
    if ending in ("yaml", "yml", "json") or text.lstrip()[:1] in ("{", "[") or _YAML_LINE.search(text):
        try:
            values = [value for piece in split(text) for value in parse(piece, path)]
        except IsthmusError:
            values = []
        trees = [value for value in values if isinstance(value, dict | list)]
        if trees and len(trees) == len(values):
            form = "json" if text.lstrip()[:1] == "{" else "yaml"
            for value in trees:
                yield Tree(inside(path, form), value, form)
            return
    if _HAS_PROPERTY.search(text):
        yield Tree(
            inside(path, "props"),
            {key: _unquote(value.strip()) for key, value in _PROPERTY.findall(text)},
            "props",
        )
    yield Text(path, text, name)


def _fields(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    is_secret = data.get("kind") == "Secret"
    for field in ("data", "stringData", "binaryData"):
        values: dict[str, tuple[str, str]] = {}
        for key, value in mapping_at(data, field).items():
            # Knative explains the settings of a ConfigMap under `_example`.
            if not isinstance(value, str) or key.startswith("_"):
                continue
            if (is_secret and field == "data") or field == "binaryData":
                text = _decoded(value)
                if text is not None:
                    values[key] = (" | @base64d", text)
            else:
                values[key] = ("", value)
        if values:
            yield field, values


def _decoded(value: str) -> str | None:
    try:
        text = base64.b64decode(value, validate=False).decode()
    except (binascii.Error, ValueError):
        return None
    return None if "\0" in text else text


def _toml(text: str) -> dict[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _unquote(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
