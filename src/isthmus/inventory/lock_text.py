"""Reads the text of a lock in exactly the form that `lock` writes, many times faster than YAML is parsed.

What is in any other form, however slightly, is not read here: it is left to the YAML parser, which also has
the words for what is wrong with it. So this may refuse whatever it likes, but what it gives must be what the
YAML parser gives. Not here: what the objects mean (`lock`).
"""

import re
from typing import Any

import msgspec

_KEYS = frozenset({
    "version", "platforms", "references", "kind", "name", "digest", "media_type", "size", "referrers",
    "artifact_type", "evidence", "reference", "serve", "max_age", "created", "checked", "verified_by", "resolved",
    "contents", "path", "url", "children",
})  # fmt: skip
# As `lock` writes them: plain text, whole numbers, and quoted text with the escapes that JSON and YAML share.
_PLAIN = r"[A-Za-z/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*"
_NUMBER = r"0|[1-9][0-9]{0,18}"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\["\\nrtbf]|\\u(?!0000|[dD][89a-fA-F])[0-9a-fA-F]{4})*"'
# Looked for once in a whole text, and only where it has more than ASCII: in `_LINE` this took long to compile.
_UNUSUAL = "[\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]"
_SCALAR = f"(?:{_PLAIN}|{_NUMBER}|{_QUOTED})"
_LINE = re.compile(rf"((?:  ){{0,2}})(- )?(?:([a-z_]+):(?: ({_SCALAR}|\[\]))?|({_SCALAR}))")
_NOT_TEXT = frozenset(["y", "yes", "n", "no", "true", "false", "on", "off", "null"])

_MOST_LINES = 1_000_000  # far below what the YAML parser reads

_Object = dict[str, Any]


class _OtherForm(Exception):  # noqa: N818  # what it is, not what failed
    """It is for the YAML parser."""


def read(text: str, header: str) -> _Object | None:
    """The mapping that the text is, or None where it is not in the form that `lock` writes."""
    if not text.startswith(header) or not text.endswith("\n"):
        return None
    if not text.isascii() and re.search(_UNUSUAL, text):
        return None
    try:
        return _read(text[len(header) : -1].split("\n"))
    except _OtherForm:
        return None


class _Reading:
    """The mappings and lists, by level, that the next line may go on with."""

    def __init__(self) -> None:
        self.document: _Object = {}
        self._entry: _Object | None = None
        self._inner: _Object | None = None
        self._lists: list[list[Any] | None] = [None, None]
        self._begun: list[list[Any]] = []

    def finish(self) -> _Object:
        """The whole; a key with nothing below it is null in YAML, and `lock` writes no such thing."""
        if not all(self._begun):
            raise _OtherForm
        return self.document

    def key(self, level: int, key: str, value: str | None) -> None:
        """A line that is a key of a mapping."""
        if level == 2:
            _set(self._inner, key, value)
            return
        self._inner = None
        if level == 0:
            self._entry = self._lists[1] = None
        self._lists[level] = _set(self.document if level == 0 else self._entry, key, value, self._begun)

    def item(self, level: int, key: str | None, value: str | None, item: str | None) -> None:
        """A line that is an item of a list, or the first key of an item that is a mapping."""
        held = self._lists[level] if level < 2 else None
        if held is None or (held and isinstance(held[0], dict) is not (item is None)):
            raise _OtherForm
        started: _Object | None = None
        if item is not None:
            held.append(_scalar(item))
        else:
            started = {}
            _set(started, key, value)
            held.append(started)
        if level == 0:
            self._entry, self._inner, self._lists[1] = started, None, None
        else:
            self._inner = started


def _read(lines: list[str]) -> _Object:
    if len(lines) > _MOST_LINES:
        raise _OtherForm
    reading = _Reading()
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise _OtherForm
        indent, dash, key, value, item = match.groups()
        if dash:
            reading.item(len(indent) // 2, key, value, item)
        elif item is None:
            reading.key(len(indent) // 2, key, value)
        else:
            raise _OtherForm
    return reading.finish()


def _set(
    mapping: _Object | None, key: str | None, value: str | None, begun: list[list[Any]] | None = None
) -> list[Any] | None:
    """Set a key of a mapping that is open; the list that its items are put into, where it has no value."""
    if mapping is None or key not in _KEYS or key in mapping:
        raise _OtherForm
    if value is not None:
        mapping[key] = [] if value == "[]" else _scalar(value)
        return None
    if begun is None:
        raise _OtherForm
    held: list[Any] = []
    mapping[key] = held
    begun.append(held)
    return held


def _scalar(text: str) -> str | int:
    first = text[0]
    if first == '"':
        return msgspec.json.decode(text, type=str)
    if first.isdigit():
        return int(text)
    if len(text) <= 5 and text.lower() in _NOT_TEXT:
        raise _OtherForm
    return text
