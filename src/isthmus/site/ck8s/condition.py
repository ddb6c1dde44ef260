"""The yq expressions of `set-me-if-(…)`: whether a value is needed, in a merged configuration.

Paths, `==`, `!=`, `and`, `or` and parentheses, which is all that decides for a configuration without Swift or
off-site copies. What goes further (`select`, `any_c`) is not guessed: it counts as needed unless what stands
before it has decided already. Not here: finding the expressions.
"""

import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(r'\s*(?:(\(|\)|==|!=|\|)|"([^"]*)"|(\.[\w.\[\]"-]*)|([A-Za-z_]\w*)|(\S))')


class _UnknownError(Exception):
    """The expression goes further than is understood here."""


def is_needed(expression: str, configuration: dict[str, Any]) -> bool:
    """Whether the condition holds; an expression that is not understood holds."""
    try:
        return bool(_Reader(list(_tokens(expression)), configuration).either())
    except _UnknownError:
        return True


class _Reader:
    """A recursive descent over the tokens; the side that does not decide is skipped without being understood."""

    def __init__(self, tokens: list[tuple[str, str]], configuration: dict[str, Any]) -> None:
        self._tokens = tokens
        self._at = 0
        self._configuration = configuration

    def either(self) -> Any:
        value = self.both()
        while self._next_is("or"):
            if value:
                self._skip()
                return value
            value = self.both()
        return value

    def both(self) -> Any:
        value = self.compared()
        while self._next_is("and"):
            if not value:
                self._skip_term()
                continue
            value = self.compared()
        return value

    def compared(self) -> Any:
        value = self.single()
        for sign in ("==", "!="):
            if self._next_is(sign):
                return (value == self.single()) == (sign == "==")
        return value

    def single(self) -> Any:
        if self._at >= len(self._tokens):
            raise _UnknownError
        kind, text = self._tokens[self._at]
        self._at += 1
        if text == "(" and kind == "sign":
            value = self.either()
            if not self._next_is(")"):
                raise _UnknownError
            return value
        if kind == "text":
            return text
        if kind == "path":
            return _at(self._configuration, text)
        if kind == "word" and text in {"true", "false", "null"}:
            return {"true": True, "false": False, "null": None}[text]
        raise _UnknownError

    def _next_is(self, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] in {("sign", text), ("word", text)}:
            self._at += 1
            return True
        return False

    def _skip_term(self) -> None:
        """Over one operand of `and`, whatever it is."""
        self._skip(stops=("and", "or"))

    def _skip(self, stops: tuple[str, ...] = ()) -> None:
        """To the end of this level, or to one of the words at it."""
        depth = 0
        while self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if depth == 0 and ((kind, text) == ("sign", ")") or (kind == "word" and text in stops)):
                return
            depth += (kind == "sign") * ((text == "(") - (text == ")"))
            self._at += 1


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for sign, text, path, word, other in _TOKEN.findall(expression):
        if sign:
            yield "sign", sign
        elif path:
            yield "path", path
        elif word:
            yield "word", word
        elif other:
            yield "other", other
        else:
            yield "text", text


def _at(value: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        value = value.get(part) if isinstance(value, dict) else None
    return value
