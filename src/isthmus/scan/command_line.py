"""Flags in the commands and arguments of containers, in scripts as well.

`--flag=value`, `-flag value` as two elements, `--flag value` in one. Not here: what flags mean (`rules/`).
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from isthmus.scan.paths import index_path

MAX_SCRIPT = 1 << 20
_FLAG = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)
_IN_TEXT = re.compile(r"""(?:^|[\s"'(\[])--?([A-Za-z][\w.-]*)(?:=|[ \t]+)["']?([^\s"'`;|&<>()\[\]{}\\]+)""")
# Bounded, because a script may be one long line that was made to be slow to search.
_PULL = re.compile(
    r"(?:ctr|crictl|nerdctl|docker|podman|skopeo|crane|img)\b[^\n;|&]{0,200}?\b(?:pull|run|create)\s+"
    r"(?:--?\S{1,200}\s+){0,20}([^\s\"'`;|&<>(){}\\-][^\s\"'`;|&<>(){}\\]*)"
)
_BLANK = re.compile(r"\s")


class Argument(msgspec.Struct, frozen=True):
    """A flag, without its dashes, and what is set to it; an element that belongs to no flag has none."""

    path: str
    flag: str
    value: str


def arguments(elements: list[Any], path: str) -> Iterator[Argument]:
    """Every argument in the elements of a command."""
    texts = [element if isinstance(element, str) else "" for element in elements]
    for index, text in enumerate(texts):
        place = index_path(path, index)
        if len(text) > MAX_SCRIPT or not text:
            continue
        if _BLANK.search(text):
            for flag, value in in_script(text):
                yield Argument(place, flag, value)
            continue
        if text[0] != "-":
            if not index or not texts[index - 1].startswith("-"):
                yield Argument(place, "", text)
            continue
        match = _FLAG.fullmatch(text)
        if match is None:
            continue
        flag, value = match.groups()
        if value is not None:
            yield Argument(place, flag, value)
        elif index + 1 < len(texts) and not texts[index + 1].startswith("-"):
            yield Argument(index_path(path, index + 1), flag, texts[index + 1])


def in_script(text: str) -> Iterator[tuple[str, str]]:
    """Every flag with its value in a script; what a container tool pulls has the flag `image`."""
    yield from _IN_TEXT.findall(text)
    for value in _PULL.findall(text):
        yield "image", value
