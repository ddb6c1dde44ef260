"""`Variables`: Ansible variables whose values are Jinja templates of each other, evaluated when asked for.

The part of Ansible's templating that Kubespray's defaults use: its filters, the `version` test, `lookup` of
variables. Templates run in Jinja's sandbox. Not here: which variables there are (`variables`).
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from isthmus.errors import UsageError

MAX_TEMPLATE = 100_000
_EXPRESSION = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*", re.DOTALL)
_LOGIC = re.compile(r"\{[{%#]")


class EvaluationError(Exception):
    """A value that could not be evaluated; never leaves `scan`."""


class Variables:
    """Evaluates variables; `facts` stand for what Ansible would learn from a machine."""

    def __init__(self, raw: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._raw = {**raw, **facts}
        self._done: dict[str, Any] = {}
        self._doing: set[str] = set()
        self._environment, self._undefined, self._missing, self._error = _make_environment(self)

    def value(self, name: str) -> Any:
        """A variable, or Jinja's mark for one that is missing; raises EvaluationError."""
        if name in self._done:
            return self._done[name]
        if name not in self._raw:
            return self._missing
        if name in self._doing:
            raise EvaluationError(f"the variable {name} refers to itself")
        self._doing.add(name)
        try:
            self._done[name] = self._within(self._raw[name])
        finally:
            self._doing.discard(name)
        return self._done[name]

    def evaluate(self, value: Any) -> Any:
        """A value with the templates in it evaluated; raises EvaluationError, also for what is undefined."""
        if isinstance(value, dict):
            return {key: self.evaluate(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.evaluate(item) for item in value]
        if not isinstance(value, str) or not _LOGIC.search(value):
            return value
        if len(value) > MAX_TEMPLATE:
            raise EvaluationError("a template is too long")
        try:
            return self._render(value)
        except self._error as error:
            raise EvaluationError(f"{error.__class__.__name__}: {str(error)[:300]}") from error
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise EvaluationError(f"{type(error).__name__}: {str(error)[:300]}") from error

    def _within(self, value: Any) -> Any:
        """As `evaluate`, but what cannot be evaluated inside a table is undefined there, and the rest is not."""
        if isinstance(value, dict):
            return {key: self._within(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._within(item) for item in value]
        try:
            return self.evaluate(value)
        except EvaluationError as problem:
            return self._undefined(hint=str(problem))

    def _render(self, text: str) -> Any:
        expression = _EXPRESSION.fullmatch(text)
        if expression is None:
            return self._environment.from_string(_keep_backslashes(self._environment, text)).render()
        # One expression keeps its type, as in Ansible; a text would become a number by guessing.
        code = expression.group(1).replace("\\", "\\\\")
        result = self._environment.compile_expression(code, undefined_to_none=False)()
        if isinstance(result, self._undefined):
            str(result)  # raises, and says what is undefined
        return result


def _keep_backslashes(environment: Any, text: str) -> str:
    """Ansible lets a backslash inside an expression's text stand for itself, as patterns have many."""
    if "\\" not in text:
        return text
    parts: list[str] = []
    inside = False
    for _, kind, part in environment.lex(text):
        inside = (inside or kind == "variable_begin") and kind != "variable_end"
        parts.append(part.replace("\\", "\\\\") if inside and kind == "string" else part)
    return "".join(parts)


def is_true(value: Any) -> bool:
    """Ansible's truth of a value that may have become text."""
    if isinstance(value, str):
        return value.strip().lower() in {"true", "yes", "on", "1", "y", "t"}
    return bool(value)


def _make_environment(variables: Variables) -> tuple[Any, Any, Any, Any]:
    try:
        import jinja2
        import jinja2.sandbox
        from jinja2.runtime import Context
        from jinja2.utils import missing
    except ImportError as error:
        raise UsageError(
            "wrong-usage",
            "reading a Kubespray checkout needs Jinja2",
            hint="pip install 'isthmus[kubespray]', or pip install Jinja2",
        ) from error

    class LazyContext(Context):
        """Finds variables when a template asks for them."""

        def resolve_or_missing(self, key: str) -> Any:
            """A name of the template itself, of Jinja, or of Ansible."""
            held = super().resolve_or_missing(key)
            return variables.value(key) if held is missing else held

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=False, trim_blocks=True
    )
    environment.context_class = LazyContext
    filters: Mapping[str, Callable[..., Any]] = _FILTERS
    for name, function in filters.items():
        environment.filters[name] = function
        environment.filters[f"ansible.builtin.{name}"] = function
    for name in _LISTED:
        environment.filters[name] = _listed(environment.filters[name])
    environment.tests["version"] = _version_test
    environment.globals["lookup"] = lambda kind, *names, **_: _lookup(variables, kind, *names)
    problems = (jinja2.TemplateError, EvaluationError)
    return environment, jinja2.StrictUndefined, missing, problems


def _listed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja that gives a list, as Ansible makes of it, and not a generator."""

    @functools.wraps(function)
    def filter_to_list(*arguments: Any, **options: Any) -> list[Any]:
        return list(function(*arguments, **options))

    return filter_to_list


def _lookup(variables: Variables, kind: str, *names: Any) -> Any:
    if kind in {"env", "ansible.builtin.env"}:
        return ""
    if kind in {"vars", "ansible.builtin.vars"} and len(names) == 1:
        return variables.value(str(names[0]))
    raise EvaluationError(f"lookup of {kind!r} is not supported")


def version_key(text: Any) -> tuple[tuple[int, int, str], ...]:
    """What versions are compared by: numbers as numbers, before words."""
    parts = re.findall(r"\d+|[a-z]+", str(text).lower().lstrip("v"))
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def _version_test(value: Any, other: Any, operator: str = "==", **_: Any) -> bool:
    left, right = version_key(value), version_key(other)
    tests: Mapping[str, bool] = {
        "==": left == right, "=": left == right, "eq": left == right, "!=": left != right, "ne": left != right,
        "<": left < right, "lt": left < right, "<=": left <= right, "le": left <= right,
        ">": left > right, "gt": left > right, ">=": left >= right, "ge": left >= right,
    }  # fmt: skip
    if operator not in tests:
        raise EvaluationError(f"the version test has no operator {operator!r}")
    return tests[operator]


def _combine(first: Mapping[str, Any], *others: Mapping[str, Any], **_: Any) -> dict[str, Any]:
    result = dict(first)
    for other in others:
        result.update(other)
    return result


def _flatten(items: list[Any]) -> list[Any]:
    return [leaf for item in items for leaf in (_flatten(item) if isinstance(item, list) else [item])]


def _regex_replace(text: Any, pattern: str, replacement: str = "", **_: Any) -> str:
    if len(pattern) > 1000:
        raise EvaluationError("a pattern is too long")
    return re.sub(pattern, replacement, str(text))


_LISTED = ("map", "reject", "rejectattr", "select", "selectattr", "unique")
_FILTERS: Mapping[str, Callable[..., Any]] = {
    "bool": is_true,
    "combine": _combine,
    "dict2items": lambda table: [{"key": key, "value": value} for key, value in table.items()],
    "difference": lambda first, other: [item for item in first if item not in other],
    "flatten": _flatten,
    "regex_replace": _regex_replace,
    "split": lambda text, *separator: str(text).split(*separator),
    "ternary": lambda value, yes, no: yes if is_true(value) else no,
    "union": lambda first, other: list(dict.fromkeys([*first, *other])),
}
