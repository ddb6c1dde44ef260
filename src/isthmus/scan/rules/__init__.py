"""One module a rule, each with `find(view) -> Iterator[Ref | Endpoint | Item]`.

A new rule is a module here and its name in `RULES`.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

from isthmus.scan.view import View

Rule: TypeAlias = Callable[[View], Iterator[Any]]

RULES = (
    "pods",
    "arguments",
    "environment",
    "config_data",
    "annotations",
    "custom_resources",
    "operators",
    "acme",
    "alerting",
    "downloads",
    "falcoctl",
    "gitops",
    "hub",
    "identity",
    "plugins",
    "signatures",
    "tekton",
    "time_servers",
    "trivy",
    "update_checks",
    "outside_addresses",
)


@cache
def all_rules() -> tuple[Rule, ...]:
    """The rules, in their order."""
    return tuple(import_module(f"{__name__}.{name}").find for name in RULES)
