"""Images in the commands and arguments of containers. Likely.

`--flag=ref`, `-flag ref` as two elements, `--flag ref` in one element, and the same inside shell scripts.
A default that an object may override is conditional where only such an object makes it needed. Not here:
downloads in scripts (`downloads`).
"""

from collections.abc import Iterator

from isthmus.inventory.model import Item, Ref, When
from isthmus.scan.command_line import MAX_SCRIPT, in_script
from isthmus.scan.facts import FlagDefault
from isthmus.scan.recognise import Look, look
from isthmus.scan.view import View
from isthmus.scan.words import is_for_windows, is_policy, names_image, words

RULE = "argument"
_DEFAULT = ("default", "base", "image")


def find(view: View) -> Iterator[Ref | Item | FlagDefault]:
    """Every image that an argument names."""
    for argument in view.arguments:
        if words(argument.flag)[-3:] == _DEFAULT and look(argument.value) is Look.STRONG:
            yield FlagDefault(argument.flag, argument.value)
        for part in _parts(argument.value):
            if flag_names_image(argument.flag, part):
                when, note = condition(argument.flag)
                yield view.image(part, view.finding(argument.path, RULE, "likely", when, note))
    for text in view.texts:
        if len(text.text) <= MAX_SCRIPT:
            for flag, value in in_script(text.text):
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
    if words(flag)[-3:] == _DEFAULT:
        return "conditional", "only for objects that name no image of their own"
    return "always", ""
