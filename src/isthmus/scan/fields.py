"""Looking fields up by path: `.spec.steps[].image`, where `[]` is every element and `*` every key.

Not here: finding fields that are not known beforehand (`settings`).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from isthmus.scan.paths import index_path, key_path
from isthmus.scan.settings import is_off


@lru_cache(maxsize=4096)
def pattern(path: str) -> tuple[str, ...]:
    """The steps of a path: `.a[].b` is a, [], b."""
    return tuple(step for step in path.replace("[]", ".[]").split(".") if step)


def select(data: Any, steps: tuple[str, ...], path: str = "") -> Iterator[tuple[str, Any]]:
    """Where the steps lead, with the path to each place; nothing below what is turned off."""
    if not steps:
        yield path, data
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        if isinstance(data, list):
            for index, item in enumerate(data):
                yield from select(item, rest, index_path(path, index))
    elif isinstance(data, Mapping) and not is_off(data):
        keys = list(data) if step == "*" else [step] if step in data else []
        for key in keys:
            yield from select(data[key], rest, key_path(path, key))


def text_of(data: Any, path: str) -> str:
    """The text or number at a path, as text; nothing where there is none."""
    for _, value in select(data, pattern(path)):
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value).strip()
    return ""
