"""Reads docs/guide.md: the commands, in order, with the side that runs each; and isthmus.yaml. Not a test file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GUIDE: Final = Path(__file__).parents[2] / "docs" / "guide.md"
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A line behind a `$ `; one that ends in ` &` keeps running. `# ends with N` says another status than 0."""

    side: str
    line: str

    @property
    def status(self) -> int:
        """The exit status that the text promises."""
        found = re.search(r" # ends with (\d)\b", self.line)
        return int(found[1]) if found else 0

    @property
    def stays(self) -> bool:
        return self.line.endswith(" &")


def commands() -> list[Command]:
    """All of them. Every block of code must be `console SIDE` or of isthmus.yaml, so that no command can hide."""
    found: list[Command] = []
    for kind, body in _blocks():
        if kind in ("yaml isthmus.yaml", "yaml"):
            continue
        language, _, side = kind.partition(" ")
        assert (language, side) in (("console", "outside"), ("console", "inside")), kind
        for line in body.splitlines():
            assert line.startswith("$ "), f"no command: {line}"
            found.append(Command(side, line.removeprefix("$ ")))
    return found


def configuration() -> str:
    """The isthmus.yaml of the text."""
    (body,) = [body for kind, body in _blocks() if kind == "yaml isthmus.yaml"]
    return body


def fragments() -> list[str]:
    """What else the text says that isthmus.yaml may have."""
    return [body for kind, body in _blocks() if kind == "yaml"]


def _blocks() -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in _BLOCK.finditer(GUIDE.read_text(encoding="utf-8"))]
