"""Gives a package names that are imported when they are first asked for (PEP 562).

A command that finds nothing to do needs little of most rooms, and importing was half of its time. Not here:
which names (each room's `__init__`).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_of(package: str, there: dict[str, Any], homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package; `there` are its globals, `homes` has the module of each name."""

    def find(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = there[name] = getattr(import_module(home), name)
        return found

    return find
