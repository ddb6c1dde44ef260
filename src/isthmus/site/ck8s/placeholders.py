"""Every value that a person still has to give: `set-me`, and `set-me-if-(…)` where its condition holds.

Looked for in the merged configuration, whatever layer it came from. `ck8s validate` looks only for those of the
base files that it knows, and so misses all that the flavour, the installer and the provider bring. Not here: what
to write instead (`explain`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from isthmus.site.ck8s.condition import is_needed

_CONDITIONAL = re.compile(r"set-me-if-\((.*)\)\Z", re.DOTALL)


@dataclass(frozen=True, order=True)
class Placeholder:
    """Where one is, as yq writes it (`.a.b[0]`), and what it says."""

    key: str
    text: str

    @property
    def is_conditional(self) -> bool:
        """Whether it was needed only because of another value."""
        return self.text != "set-me"


def placeholders(configuration: dict[str, Any]) -> tuple[Placeholder, ...]:
    """All of them, in the order of the configuration."""
    return tuple(found for found in _walk(configuration, "") if _is_open(found.text, configuration))


def _is_open(text: str, configuration: dict[str, Any]) -> bool:
    match = _CONDITIONAL.match(text)
    return match is None or is_needed(match.group(1), configuration)


def _walk(value: Any, key: str) -> Iterator[Placeholder]:
    if isinstance(value, dict):
        for name, item in value.items():
            part = f'."{name}"' if "." in str(name) else f".{name}"
            yield from _walk(item, key + part)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _walk(item, f"{key}[{number}]")
    elif isinstance(value, str) and value.startswith("set-me"):
        yield Placeholder(key, value)
