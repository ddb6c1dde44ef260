"""The type of a YAML scalar, as Kubernetes' YAML library sees it: text, number, boolean or null.

No dates and no sexagesimal numbers, which that library does not know. Not here: anything but scalars.
"""

import re
from collections.abc import Mapping
from typing import Any

_WORDS: Mapping[str, bool | None] = {
    word: value
    for words, value in (
        (("", "~", "null", "Null", "NULL"), None),
        (("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
        (("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    )
    for word in words
}
_NUMBER_START = frozenset("0123456789+-.")
MAYBE_NO_TEXT = _NUMBER_START | {word[:1] for word in _WORDS}
"""What a plain scalar begins with that may be something other than text."""
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 400


def resolve_plain(text: str) -> Any:
    """The value of a scalar without quotes and tag."""
    if text in _WORDS:
        return _WORDS[text]
    # Everything else that is not text begins with a digit, a sign or a dot.
    if text[0] not in _NUMBER_START or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def resolve_tagged(tag: str, text: str) -> Any:
    """The value of a scalar with a tag; a tag that is not known does not change the text."""
    name = tag.removeprefix("tag:yaml.org,2002:")
    if name in ("int", "float", "bool", "null") and name != tag:
        return resolve_plain(text)
    return text


def _integer(text: str) -> Any:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").replace("_", "")
    base = 10
    if digits[:2] in ("0b", "0o", "0x"):
        base = {"b": 2, "o": 8, "x": 16}[digits[1]]
        digits = digits[2:]
    elif digits[0] == "0" and len(digits) > 1:
        base = 8
    try:
        return sign * int(digits, base)
    except ValueError:
        return text  # such as 0899, which is no octal number


def _float(text: str) -> Any:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return text
