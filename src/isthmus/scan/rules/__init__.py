"""One module a rule, each with `find(view) -> Iterator[Ref | Endpoint | Item]`.

A new rule is a module here and its name in `RULES`.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import TypeAlias

from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.view import View

Rule: TypeAlias = Callable[[View], Iterator[Ref | Endpoint | Item]]

RULES = ("pods", "arguments", "environment", "config_data", "annotations")


@cache
def all_rules() -> tuple[Rule, ...]:
    """The rules, in their order."""
    return tuple(import_module(f"{__name__}.{name}").find for name in RULES)
