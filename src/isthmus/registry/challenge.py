"""Parsing `WWW-Authenticate` (RFC 9110, 11.6.1; distribution-spec token authentication) and scopes. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a grammar
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t,"]*))', re.ASCII | re.DOTALL)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+|(?=,|$))", re.ASCII)
_SKIP = re.compile(r"[ \t,]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate that a server offers; names are lowercase."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """All challenges of a header, several header lines joined by commas; nonsense ends the list quietly."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while True:
        position = _end(_SKIP, header, position)
        parameter = _PARAMETER.match(header, position)
        if parameter and found:
            name, quoted, plain = parameter.groups()
            value = _ESCAPE.sub(r"\1", quoted) if quoted is not None else plain
            found[-1][1].setdefault(name.lower(), value)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            break
        found.append((scheme[1].lower(), {}))
        position = scheme.end()
        position = _end(_TOKEN68, header, position)
    return tuple(Challenge(name, values) for name, values in found)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def merge_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes `type:name:actions`, each thing once with all its actions, sorted."""
    things = sorted(_actions(scopes).items())
    return tuple(f"{thing}:{','.join(sorted(wanted))}" if wanted else thing for thing, wanted in things)


def covers(granted: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether every action that is wanted is among the granted ones."""
    has = _actions(granted)
    return all(thing in has and actions <= has[thing] for thing, actions in _actions(wanted).items())


def _actions(scopes: Iterable[str]) -> dict[str, set[str]]:
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        thing, _, wanted = scope.rpartition(":")
        if thing:
            actions.setdefault(thing, set()).update(part for part in wanted.split(",") if part)
        elif scope:
            actions.setdefault(scope, set())
    return actions


def repository_scope(repository: str, *actions: str) -> str:
    """The scope for doing `actions` (pull, push, delete) in a repository."""
    return f"repository:{repository}:{','.join(sorted(actions))}"
