"""Builds plain objects from YAML text with limits on depth, values and aliases.

libyaml finds the events; the objects are built here without recursion, so that nothing hostile gets deep
or large. Unlike PyYAML's loaders: keys are text, there are no dates and no sexagesimal numbers, unknown
tags are ignored, a repeated key's last value counts. Not here: streams of documents (`scan.yaml_reader`)
and what objects mean.
"""

from typing import Any

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
from isthmus.inventory.scalars import MAYBE_NO_TEXT, resolve_plain, resolve_tagged

MAX_DEPTH = 200
MAX_NODES = 6_000_000
MAX_ALIASED_NODES = 200_000


def build(text: str, where: str, line: int = 1) -> list[Any]:
    """The objects of one text that begins on `line` of `where`; empty documents are left out.

    Raises UsageError (`invalid-input`) for whatever cannot be parsed within the limits.
    """
    try:
        return _Builder(text).documents()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise refusal(where, line + (mark.line if mark else 0), error.problem or str(error)) from error
    except YAMLError as error:
        raise refusal(where, line, str(error).partition("\n")[0]) from error
    except LimitError as error:
        raise refusal(where, line + error.line, str(error), error.hint) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise refusal(where, line, f"it cannot be read as YAML: {type(error).__name__}") from error


def _parser(text: str) -> Any:
    try:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]
    except ImportError:  # PyYAML built without libyaml: the same events, some twenty times slower
        from yaml.loader import BaseLoader

        return BaseLoader(text)
    return CParser(text)


def refusal(where: str, line: int, why: str, hint: str = "") -> UsageError:
    """The error for text that cannot be parsed within the limits."""
    return UsageError("invalid-input", why[:300], where=f"{where}:{line}", hint=hint)


class LimitError(Exception):
    """A limit of this module, on a line counted from the beginning of the text; never leaves it."""

    def __init__(self, why: str, line: int, hint: str = "") -> None:
        super().__init__(why)
        self.line = line
        self.hint = hint


_NO_KEY = object()


class _Frame:
    """A collection that is being filled; `key` is the key that waits for its value."""

    __slots__ = ("anchor", "before", "is_mapping", "key", "merges", "target")

    def __init__(self, target: Any, anchor: str | None, before: int) -> None:
        self.target = target
        self.anchor = anchor
        self.before = before
        self.key: Any = _NO_KEY
        self.merges: list[Any] = []
        self.is_mapping = type(target) is dict


class _Builder:
    """Builds the objects of one text from libyaml's events."""

    def __init__(self, text: str) -> None:
        self.parser = _parser(text)
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
        stack = self.stack
        while (event := get()) is not None:
            kind = type(event)
            # Nearly all events are scalars without anchor or tag; a call for each would take a third longer.
            if kind is ScalarEvent and stack and event.anchor is None and event.tag is None:
                frame, value = stack[-1], event.value
                self.nodes += 1
                if self.nodes > MAX_NODES:
                    raise _too_many(event)
                if frame.is_mapping and frame.key is _NO_KEY:
                    frame.key = _MERGE if value == "<<" and event.implicit[0] else value
                    continue
                if event.implicit[0] and value[:1] in MAYBE_NO_TEXT:
                    value = resolve_plain(value)
                if not frame.is_mapping:
                    frame.target.append(value)
                elif frame.key is not _MERGE:
                    frame.target[frame.key] = value
                    frame.key = _NO_KEY
                else:
                    self.add(value, event)
                continue
            handler = handlers.get(kind)
            if handler is not None:
                handler(event)
        return [value for value in self.done if value is not None]

    def scalar(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _too_many(event)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is _NO_KEY and frame.is_mapping:
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
            raise LimitError(f"it is nested more than {MAX_DEPTH} deep", event.start_mark.line)
        if self.stack and self.stack[-1].key is _NO_KEY and self.stack[-1].is_mapping:
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
        held: Any = self.anchors.get(event.anchor, _NO_KEY)
        line = event.start_mark.line
        if held is None:
            raise LimitError(f"the alias *{event.anchor[:40]} refers to what holds it", line)
        if held is _NO_KEY:
            raise LimitError(f"the alias *{event.anchor[:40]} has no anchor", line)
        value, size = held
        self.nodes += size
        self.aliased += size
        if self.aliased > MAX_ALIASED_NODES:
            raise LimitError(f"its aliases stand for more than {MAX_ALIASED_NODES} values", line)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is _NO_KEY and frame.is_mapping:
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
        if not frame.is_mapping:
            frame.target.append(value)
            return
        if frame.key is _MERGE:
            frame.merges.extend(_merged(value, event))
        else:
            frame.target[frame.key] = value
        frame.key = _NO_KEY


_MERGE = object()


def _too_many(event: Any) -> LimitError:
    return LimitError(f"it holds more than {MAX_NODES} values", event.start_mark.line)


def _merged(value: Any, event: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in items):
        raise LimitError("a merge key `<<` needs a mapping or a list of mappings", event.start_mark.line)
    # A list of merges gives way from left to right, a later merge key to an earlier one.
    return items


def _complex_key(event: Any) -> LimitError:
    hint = "this looks like a template; render it first, for example with the source helm:"
    return LimitError("a key is not plain text", event.start_mark.line, hint)
