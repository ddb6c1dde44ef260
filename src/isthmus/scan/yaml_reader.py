"""YAML and JSON into plain objects, fast and with limits, as Kubernetes' tools understand them.

Documents are split as Helm does, JSON takes a quicker way, and every fault names the file and line. Not
here: reading files (`input`), building objects (`inventory.yaml_builder`), and what objects mean.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from isthmus.inventory.yaml_builder import MAX_DEPTH, build, refusal

MAX_DOCUMENT = 48 << 20
"""Characters in one document; `kubectl get -A -o yaml` gives one document for a whole cluster."""

# Helm's splitter is `(?:^|\s*\n)---\s*`: what follows the dashes need not be a space, as in `---# comment`.
# Blanks at the ends of documents do not matter to a parser, the indentation of their first line does.
# The line feed comes first so that the search leaps from line to line: `^` would try every character.
_SEPARATOR = re.compile(r"\n(?:---[ \t]*|\.\.\.[ \t]*$)", re.MULTILINE)
_FIRST_SEPARATOR = re.compile(r"---[ \t]*|\.\.\.[ \t]*$", re.MULTILINE)
_DIRECTIVE = re.compile(r"\A(?:[ \t]*(?:#.*)?\n)*%(?:YAML|TAG)\b.*(?:\n|\Z)")


class Piece(msgspec.Struct, frozen=True):
    """The text of one document and the line that it begins on, counted from 1."""

    line: int
    text: str


def split(text: str) -> Iterator[Piece]:
    """The documents of a stream, without those that hold nothing but blanks and comments."""
    first = _FIRST_SEPARATOR.match(text)
    start, line = first.end() if first else 0, 1
    for match in _SEPARATOR.finditer(text, start):
        yield from _piece(text[start : match.start() + 1], line)
        line += text.count("\n", start, match.end())
        start = match.end()
    yield from _piece(text[start:], line)


def parse_all(text: str, where: str) -> list[Any]:
    """Every document of a stream.

    Raises UsageError (`invalid-input`) at `where` for the first that cannot be parsed within the limits.
    """
    return [value for piece in split(text) for value in parse(piece, where)]


def parse(piece: Piece, where: str) -> list[Any]:
    """The objects of one piece, usually one: `...` may end a document as well. Empty ones are left out.

    Raises UsageError (`invalid-input`) at `where`.
    """
    text = piece.text
    if len(text) > MAX_DOCUMENT:
        raise refusal(
            where, piece.line, f"a document of {len(text) >> 20} MiB is longer than {MAX_DOCUMENT >> 20} MiB"
        )
    if text.lstrip()[:1] == "{":
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass  # flow YAML begins with a brace as well
        else:
            _check_depth(value, where, piece.line)
            return [value]
    return build(_without_directives(text), where, piece.line)


def _piece(text: str, line: int) -> Iterator[Piece]:
    if text and not text.isspace():
        yield Piece(line, text)


def _without_directives(text: str) -> str:
    # A directive is ended by `---`, which `split` has taken, so that it would stand alone.
    while match := _DIRECTIVE.match(text):
        text = text[match.end() :]
    return text


def _check_depth(value: Any, where: str, line: int) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise refusal(where, line, f"it is nested more than {MAX_DEPTH} deep")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, dict | list))
            elif isinstance(item, list):
                below.extend(child for child in item if isinstance(child, dict | list))
        level = below
