"""Versions (semver.org 2.0.0, with a leading v and missing parts allowed) and Helm's ranges of them. Pure.

The ranges are those of Masterminds/semver, which Helm uses: `^1.2`, `~1.2`, `>=1 <2`, `1.x`, `1 - 2`, `a || b`.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from isthmus.errors import UsageError

Version: TypeAlias = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
"""Major, minor, patch, and a sort key of the pre-release; a release's is greater than any."""

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_VERSION = re.compile(
    rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(?:-([0-9A-Za-z.-]{{1,100}}))?(?:\+[0-9A-Za-z.-]{{1,100}})?",
    re.ASCII,
)
_TERM = re.compile(
    r"\s*(=|!=|>=|=>|<=|=<|>|<|~>?|\^)?\s*v?([0-9]{1,18}|[xX*])(?:\.([0-9]{1,18}|[xX*]))?(?:\.([0-9]{1,18}|[xX*]))?"
    r"(-[0-9A-Za-z.-]{1,100})?(?:\+[0-9A-Za-z.-]{1,100})?\s*,?",
    re.ASCII,
)
_HYPHEN = re.compile(r"\s*(\S{1,200})\s+-\s+(\S{1,200})\s*")
_RELEASE = ((2, 0, ""),)
Test: TypeAlias = Callable[[Version], bool]


def parse(text: str) -> Version | None:
    """A version to compare; None for what is none."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        return None
    return (int(match[1]), int(match[2] or 0), int(match[3] or 0), _pre(match[4] or ""))


def best(versions: Iterable[str], wanted: str) -> str | None:
    """The newest version in a range; without one, the newest release. None where none fits.

    A pre-release is chosen only where the range names one, or is that very version.
    Raises UsageError (`invalid-config`) for what is no range.
    """
    found: list[tuple[Version, str]] = []
    test = _range(wanted) if wanted else (lambda _version: True)
    for text in versions:
        version = parse(text)
        if text == wanted:
            return text
        if version is None or (version[3] != _RELEASE and "-" not in wanted.replace(" - ", " ")):
            continue
        if test(version):
            found.append((version, text))
    return max(found)[1] if found else None


def _pre(text: str) -> tuple[tuple[int, int, str], ...]:
    if not text:
        return _RELEASE
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text[:100].split("."))


def _range(text: str) -> Test:
    tests = [_all(part) for part in text[:1000].split("||")]
    return lambda version: any(test(version) for test in tests)


def _all(text: str) -> Test:
    if hyphen := _HYPHEN.fullmatch(text):
        text = f">={hyphen[1]} <={hyphen[2]}"
    tests: list[Test] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            raise UsageError(
                "invalid-config", f"{text[:100]!r} is not a range of versions", hint="write ^1.2 or ~1.2.3"
            )
        tests.append(_term(match))
        position = match.end()
    return lambda version: all(test(version) for test in tests)


def _term(match: re.Match[str]) -> Test:
    operator = match[1] or "="
    parts = [int(part) for part in _until_any(match[2], match[3], match[4])]
    low: Version = (*_three(parts), _pre((match[5] or "")[1:]) if match[5] else ())
    high = _next(parts, len(parts))
    exact = (*_three(parts), _pre((match[5] or "")[1:]))
    if operator == "=":
        return (lambda v: v == exact) if len(parts) == 3 else (lambda v: low <= v and (high is None or v < high))
    if operator == "!=":
        return lambda v: v != exact
    if operator in (">=", "=>"):
        return lambda v: v >= (exact if match[5] else low)
    if operator == ">":
        return (lambda v: v > exact) if len(parts) == 3 else (lambda v: high is not None and v >= high)
    if operator == "<":
        return lambda v: v < (exact if match[5] else low)
    if operator in ("<=", "=<"):
        return (lambda v: v <= exact) if len(parts) == 3 else (lambda v: high is None or v < high)
    bound = _next(parts, min(len(parts), 2)) if operator.startswith("~") else _caret(parts)
    return lambda v: (exact if match[5] else low) <= v and (bound is None or v < bound)


def _until_any(*parts: str | None) -> list[str]:
    found: list[str] = []
    for part in parts:
        if part is None or part in "xX*":
            break
        found.append(part)
    return found


def _three(parts: list[int]) -> tuple[int, int, int]:
    padded = [*parts, 0, 0, 0]
    return padded[0], padded[1], padded[2]


def _next(parts: list[int], length: int) -> Version | None:
    """The first version beyond all that begin with the first `length` parts."""
    if length == 0:
        return None
    kept = parts[:length]
    kept[-1] += 1
    return (*_three(kept), ())


def _caret(parts: list[int]) -> Version | None:
    """The left-most part that is not zero may not change."""
    first = next((index for index, part in enumerate(parts) if part), max(0, len(parts) - 1))
    return _next(parts, first + 1) if parts else None
