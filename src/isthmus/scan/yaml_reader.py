"""YAML and JSON into plain objects, fast and with limits, as Kubernetes' tools understand them.

libyaml finds the events; the objects are built here without recursion, so that depth, number of nodes and
aliases are bounded while they are read. Unlike PyYAML's loaders: documents are split as Helm does, keys are
text, there are no dates and no sexagesimal numbers, unknown tags are ignored, a repeated key's last value
counts. Not here: reading files (`input`), and what objects mean.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from yaml.cyaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from isthmus.errors import UsageError
from isthmus.scan.scalars import resolve_plain, resolve_tagged

MAX_DOCUMENT = 48 << 20
"""Characters in one document; `kubectl get -A -o yaml` gives one document for a whole cluster."""
MAX_DEPTH = 200
MAX_NODES = 6_000_000
MAX_ALIASED_NODES = 200_000

# Helm's splitter is `(?:^|\s*\n)---\s*`: what follows the dashes need not be a space, as in `---# comment`.
# Blanks at the ends of documents do not matter to a parser, the indentation of their first line does.
_SEPARATOR = re.compile(r"^(?:---[ \t]*|\.\.\.[ \t]*$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"\A(?:[ \t]*(?:#.*)?\n)*%(?:YAML|TAG)\b.*(?:\n|\Z)")


class Piece(msgspec.Struct, frozen=True):
    """The text of one document and the line that it begins on, counted from 1."""

    line: int
    text: str


def split(text: str) -> Iterator[Piece]:
    """The documents of a stream, without those that hold nothing but blanks and comments."""
    start, line = 0, 1
    for match in _SEPARATOR.finditer(text):
        yield from _piece(text[start : match.start()], line)
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
        raise _wrong(
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
    text = _without_directives(text)
    try:
        return _Builder(text).documents()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _wrong(where, piece.line + (mark.line if mark else 0), error.problem or str(error)) from error
    except YAMLError as error:
        raise _wrong(where, piece.line, str(error).partition("\n")[0]) from error
    except _Limit as error:
        raise _wrong(where, piece.line + error.line, str(error), error.hint) from error
    except (ValueError, OverflowError, RecursionError, UnicodeError) as error:
        raise _wrong(where, piece.line, f"it cannot be read as YAML: {type(error).__name__}") from error


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
            raise _wrong(where, line, f"it is nested more than {MAX_DEPTH} deep")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, dict | list))
            elif isinstance(item, list):
                below.extend(child for child in item if isinstance(child, dict | list))
        level = below


def _wrong(where: str, line: int, why: str, hint: str = "") -> UsageError:
    return UsageError("invalid-input", why[:300], where=f"{where}:{line}", hint=hint)


class _Limit(Exception):
    def __init__(self, why: str, line: int, hint: str = "") -> None:
        super().__init__(why)
        self.line = line
        self.hint = hint


_NO_KEY = object()


class _Frame:
    """A collection that is being filled; `key` is the key that waits for its value."""

    __slots__ = ("anchor", "before", "key", "merges", "target")

    def __init__(self, target: Any, anchor: str | None, before: int) -> None:
        self.target = target
        self.anchor = anchor
        self.before = before
        self.key: Any = _NO_KEY
        self.merges: list[Any] = []


class _Builder:
    """Builds the objects of one text from libyaml's events."""

    def __init__(self, text: str) -> None:
        self.parser = CParser(text)
        self.stack: list[_Frame] = []
        self.done: list[Any] = []
        # An anchor's value and how many nodes it stands for; None while it is still being filled.
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        self.nodes = 0
        self.aliased = 0

    def documents(self) -> list[Any]:
        """Read to the end of the stream."""
        get = self.parser.get_event
        handlers = {
            ScalarEvent: self.scalar,
            MappingStartEvent: self.start_mapping,
            SequenceStartEvent: self.start_sequence,
            MappingEndEvent: self.end_mapping,
            SequenceEndEvent: self.end_sequence,
            AliasEvent: self.alias,
            DocumentEndEvent: self.end_document,
        }
        while (event := get()) is not None:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
        return [value for value in self.done if value is not None]

    def scalar(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _Limit(f"it holds more than {MAX_NODES} values", event.start_mark.line)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is _NO_KEY and type(frame.target) is dict:
            frame.key = event.value
            if event.anchor:
                self.anchors[event.anchor] = (event.value, 1)
            if event.value == "<<" and event.implicit[0]:
                frame.key = _MERGE
            return
        if event.tag is None:
            value = resolve_plain(event.value) if event.implicit[0] else event.value
        else:
            value = resolve_tagged(event.tag, event.value)
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)
        self.add(value, event)

    def start_mapping(self, event: Any) -> None:
        self.start({}, event)

    def start_sequence(self, event: Any) -> None:
        self.start([], event)

    def start(self, target: Any, event: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise _Limit(f"it is nested more than {MAX_DEPTH} deep", event.start_mark.line)
        if self.stack and self.stack[-1].key is _NO_KEY and type(self.stack[-1].target) is dict:
            raise _complex_key(event)
        if event.anchor:
            self.anchors[event.anchor] = None
        self.nodes += 1
        self.stack.append(_Frame(target, event.anchor, self.nodes))

    def end_sequence(self, event: Any) -> None:
        self.end(self.stack.pop(), event)

    def end_mapping(self, event: Any) -> None:
        frame = self.stack.pop()
        if frame.merges:
            own = dict(frame.target)
            frame.target.clear()
            for merge in reversed(frame.merges):
                frame.target.update(merge)
            frame.target.update(own)
        self.end(frame, event)

    def end(self, frame: _Frame, event: Any) -> None:
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.target, self.nodes - frame.before + 1)
        self.add(frame.target, event)

    def alias(self, event: Any) -> None:
        held = self.anchors.get(event.anchor, _NO_KEY)
        line = event.start_mark.line
        if held is None:
            raise _Limit(f"the alias *{event.anchor[:40]} refers to what holds it", line)
        if held is _NO_KEY:
            raise _Limit(f"the alias *{event.anchor[:40]} has no anchor", line)
        value, size = held
        self.nodes += size
        self.aliased += size
        if self.aliased > MAX_ALIASED_NODES:
            raise _Limit(f"its aliases stand for more than {MAX_ALIASED_NODES} values", line)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is _NO_KEY and type(frame.target) is dict:
            if isinstance(value, dict | list):
                raise _complex_key(event)
            frame.key = value if isinstance(value, str) else str(value)
            return
        self.add(value, event)

    def end_document(self, _event: Any) -> None:
        self.anchors.clear()

    def add(self, value: Any, event: Any) -> None:
        if not self.stack:
            self.done.append(value)
            return
        frame = self.stack[-1]
        if type(frame.target) is list:
            frame.target.append(value)
            return
        if frame.key is _MERGE:
            frame.merges.extend(_merged(value, event))
        else:
            frame.target[frame.key] = value
        frame.key = _NO_KEY


_MERGE = object()


def _merged(value: Any, event: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in items):
        raise _Limit("a merge key `<<` needs a mapping or a list of mappings", event.start_mark.line)
    # A list of merges gives way from left to right, a later merge key to an earlier one.
    return items


def _complex_key(event: Any) -> _Limit:
    hint = "this looks like a template; render it first, for example with the source helm:"
    return _Limit("a key is not plain text", event.start_mark.line, hint)
