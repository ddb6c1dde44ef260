"""Images in the commands and arguments of containers. Likely.

`--flag=ref`, `-flag ref` as two elements, `--flag ref` in one element, and the same inside shell scripts.
A default that an object may override is conditional where only such an object makes it needed. Not here:
downloads in scripts (`downloads`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Item, Ref, When
from isthmus.scan.document import list_at
from isthmus.scan.paths import index_path, key_path
from isthmus.scan.recognise import Look, look
from isthmus.scan.view import View
from isthmus.scan.words import is_for_windows, is_policy, names_image, words

RULE = "argument"

_FLAG = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)
_IN_TEXT = re.compile(r"""(?:^|[\s"'(\[])--?([A-Za-z][\w.-]*)(?:=|[ \t]+)["']?([^\s"'`;|&<>()\[\]{}\\]+)""")
_PULL = re.compile(
    r"(?:ctr|crictl|nerdctl|docker|podman|skopeo|crane|img)\b[^\n;|&]*?\b(?:pull|run|create)\s+"
    r"(?:--?\S+\s+)*([^\s\"'`;|&<>(){}\\-][^\s\"'`;|&<>(){}\\]*)"
)
_MAX_SCRIPT = 1 << 20


def find(view: View) -> Iterator[Ref | Item]:
    """Every image that an argument names."""
    for container in view.containers:
        for field in ("command", "args"):
            for path, flag, value in _arguments(list_at(container.data, field), key_path(container.path, field)):
                for part in _parts(value):
                    if flag_names_image(flag, part):
                        when, note = condition(flag)
                        yield view.image(part, view.finding(path, RULE, "likely", when, note))
    for text in view.texts:
        if len(text.text) <= _MAX_SCRIPT:
            for flag, value in _in_script(text.text):
                for part in _parts(value):
                    if flag_names_image(flag, part) and look(part) is Look.STRONG:
                        when, note = condition(flag)
                        yield view.image(part, view.finding(text.path, RULE, "likely", when, note))


def _parts(value: str) -> list[str]:
    """The names in a value such as `worker=quay.io/a/b:1,other=…`."""
    return [part.rpartition("=")[2] for part in value.split(",")] if "," in value or "=" in value else [value]


def flag_names_image(flag: str, value: str) -> bool:
    """Whether a flag's value is an image: it looks like one beyond doubt, or the flag says that it is one."""
    seen = look(value)
    if seen is Look.NONE or is_policy(flag):
        return False
    return seen is Look.STRONG or names_image(flag)


def condition(flag: str) -> tuple[When, str]:
    """When an image of this flag is needed."""
    if is_for_windows(flag):
        return "conditional", "only on Windows nodes"
    if words(flag)[-3:] == ("default", "base", "image"):
        return "conditional", "only for objects that name no image of their own"
    return "always", ""


def _arguments(elements: list[Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Path, flag and value of every argument."""
    texts = [element if isinstance(element, str) else "" for element in elements]
    for index, text in enumerate(texts):
        place = index_path(path, index)
        if len(text) > _MAX_SCRIPT:
            continue
        if any(mark in text for mark in " \n\t"):
            for flag, value in _in_script(text):
                yield place, flag, value
            continue
        match = _FLAG.fullmatch(text)
        if match and match.group(2) is not None:
            yield place, match.group(1), match.group(2)
        elif match and index + 1 < len(texts) and not texts[index + 1].startswith("-"):
            yield index_path(path, index + 1), match.group(1), texts[index + 1]
        elif not match and look(text) is Look.STRONG and index and not texts[index - 1].startswith("-"):
            yield place, "", text


def _in_script(text: str) -> Iterator[tuple[str, str]]:
    for flag, value in _IN_TEXT.findall(text):
        yield flag, value
    for value in _PULL.findall(text):
        yield "image", value


def flags(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every flag with its value in a container's command and arguments."""
    for field in ("command", "args"):
        for _, flag, value in _arguments(list_at(container, field), ""):
            yield flag, value
