"""Translates a helmfile template into one that Helm renders the same way.

Helmfile's own functions become sprig's, and its data moves to where a chart has its values: `.Values.V`
is helmfile's `.Values`, so that Helm's own additions to values are not seen. What cannot be translated is
left alone, and Helm then says that there is no such function. Not here: rendering (`template`).
"""

import json
import re
from collections.abc import Callable, Iterator

import msgspec

_TOKEN = re.compile(
    r"""(?P<end>\}\})
      | (?P<comment>/\*.*?\*/)
      | (?P<text>"(?:\\.|[^"\\\n])*" | `[^`]*` | '(?:\\.|[^'\\\n])*')
      | (?P<space>\s+)
      | (?P<mark>:=|[(),|=])
      | (?P<word>(?:(?!\}\})[^\s()|"`',=])+|.)""",
    re.VERBOSE | re.DOTALL,
)
_ROOT = re.compile(r"(\$\w*)?\.(?:Values|StateValues)(?=\.|$)")
_ENVIRONMENT = re.compile(r"(\$\w*)?\.Environment\.Name$")
_FIELD = re.compile(r"\$?\w*\.\w[\w.]*$")
_INTEGER = re.compile(r"-?\d+$")
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
_KEYWORDS = frozenset({"if", "else", "with", "range", "define", "block", "template", "-", "{{", "{{-"})

Lookup = Callable[[str], str]


class Token(msgspec.Struct):
    """A piece of an action; `kind` is the name of its group in the grammar."""

    kind: str
    text: str


class Functions(msgspec.Struct, frozen=True):
    """What the functions with a constant argument give: `readFile` and `requiredEnv`."""

    read_file: Lookup
    environment: Lookup


def translate(text: str, functions: Functions) -> str:
    """The template with each of its actions translated; the lookups may raise RenderError."""
    parts: list[str] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        parts.append(text[position : start + 2])
        tokens, position = _tokens(text, start + 2)
        parts.extend(_translate_action(tokens, functions))
    parts.append(text[position:])
    return "".join(parts)


def _tokens(text: str, position: int) -> tuple[list[Token], int]:
    """The tokens of an action up to and with its end, and the position behind it."""
    tokens: list[Token] = []
    while match := _TOKEN.match(text, position):
        position = match.end()
        tokens.append(Token(match.lastgroup or "", match.group()))
        if match.lastgroup == "end":
            break
    return tokens, position


def _translate_action(tokens: list[Token], functions: Functions) -> Iterator[str]:
    for index, token in enumerate(tokens):
        if token.kind != "word":
            continue
        if token.text in {"get", "getOrNil"} and _is_function(tokens, index):
            _translate_get(tokens, index)
        elif token.text in _COMPARISONS and _is_function(tokens, index):
            _translate_comparison(tokens, index)
        elif token.text in {"readFile", "requiredEnv", "env"}:
            _translate_constant(tokens, index, functions)
    for token in tokens:
        if token.kind == "word":
            token.text = _ROOT.sub(r"\1.Values.V", token.text)
            token.text = _ENVIRONMENT.sub(r"\1.Values.EnvName", token.text)
        yield token.text


def _translate_get(tokens: list[Token], index: int) -> None:
    """`get "a.b" default object` is sprig's `dig "a" "b" default object`; with no default it is nil."""
    operands = _operands(tokens, index + 1)
    before = _before(tokens, index)
    count = len(operands) + (before is not None and before.text == "|")
    if not operands:
        return
    first = tokens[operands[0][0]]
    if first.kind == "text" and first.text.startswith('"'):
        first.text = " ".join(f'"{key}"' for key in first.text[1:-1].split("."))
    if tokens[index].text == "getOrNil" or count < 3:
        tokens[operands[0][1] - 1].text += " nil"
    tokens[index].text = "dig"


def _translate_comparison(tokens: list[Token], index: int) -> None:
    """Numbers are floats where Helm reads them and Go compares no float with an integer."""
    operands = _operands(tokens, index + 1)
    if any(_is_number_of_values(tokens, start) for start, _ in operands):
        for start, end in operands:
            if end - start == 1 and _INTEGER.match(tokens[start].text):
                tokens[start].text += ".0"


def _is_number_of_values(tokens: list[Token], start: int) -> bool:
    if tokens[start].text == "(":
        following = next((token for token in tokens[start + 1 :] if token.kind != "space"), None)
        return following is not None and (following.text in {"get", "dig"} or bool(_FIELD.match(following.text)))
    return bool(_FIELD.match(tokens[start].text))


def _translate_constant(tokens: list[Token], index: int, functions: Functions) -> None:
    operands = _operands(tokens, index + 1)
    if len(operands) != 1:
        return
    start, end = operands[0]
    argument = tokens[start]
    if end - start != 1 or argument.kind != "text" or argument.text[0] == "'":
        return
    lookup = functions.read_file if tokens[index].text == "readFile" else functions.environment
    name = argument.text[1:-1] if argument.text[0] == "`" else json.loads(argument.text)
    value = json.dumps(lookup(name), ensure_ascii=False)
    # Backslash-u escapes of JSON are valid in Go but for a slash that JSON need not escape.
    tokens[index].text = "print"
    argument.text = value


def _is_function(tokens: list[Token], index: int) -> bool:
    before = _before(tokens, index)
    return before is None or before.text in {"(", "|", ":=", "="} or before.text in _KEYWORDS


def _before(tokens: list[Token], index: int) -> Token | None:
    return next((token for token in reversed(tokens[:index]) if token.kind != "space"), None)


def _operands(tokens: list[Token], index: int) -> list[tuple[int, int]]:
    """Where the operands of a command begin and end, up to a pipe, a closing bracket or the end."""
    found: list[tuple[int, int]] = []
    start, depth = -1, 0
    for position in range(index, len(tokens)):
        token = tokens[position]
        is_end = depth == 0 and (token.text in {"|", ")"} or token.kind == "end" or token.text == "-")
        if (is_end or (token.kind == "space" and depth == 0)) and start >= 0:
            found.append((start, position))
            start = -1
        if is_end:
            break
        if token.kind != "space" and start < 0:
            start = position
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "mark" else 0
    return found
