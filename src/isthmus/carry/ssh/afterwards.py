"""Isthmus run on the far side once all has arrived: `unpack` and `push`, with their output and exit status.

Not here: what they do there.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.carry.ssh.link import Link
from isthmus.carry.ssh.shell import lines_of
from isthmus.errors import UnreachableError, UsageError

DEFAULT_STORE: Final = "/srv/isthmus/store"
_REGISTRY: Final = re.compile(r"[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._/-]+)?")
_STATUSES: Final = (0, 2, 3, 4, 5)
_NO_SUCH_COMMAND: Final = (126, 127)


@dataclass(frozen=True, slots=True)
class Step:
    """A command there; `what` is how it was asked for."""

    what: str
    words: tuple[str, ...]


def steps(
    wanted: Sequence[str], directory: str, *, program: str = "isthmus", key: str = "", store: str = DEFAULT_STORE
) -> list[Step]:
    """The commands for `unpack[:STORE]` and `push:REGISTRY`, in order. Raises UsageError `wrong-usage`.

    `key` is the path of a public key on the far side; what `unpack` names as the store is used by `push` too.
    """
    result = []
    for text in wanted:
        verb, _, value = text.partition(":")
        if any(ord(letter) < 32 for letter in text):
            raise UsageError("wrong-usage", "--then has a control character in it")
        if verb == "unpack":
            store = value or store
            words = ("unpack", directory, "--store", store, *(("--key", key) if key else ()))
        elif verb == "push" and _REGISTRY.fullmatch(value):
            words = ("push", "--store", store, "--to", value)
        else:
            raise UsageError("wrong-usage", f"--then {text!r} is not unpack[:STORE] or push:REGISTRY")
        result.append(Step(text, (program, *words)))
    return result


def run_steps(link: Link, wanted: Sequence[Step], say: Callable[[str], None]) -> int:
    """Run them one after the other, saying each line of output; the first status other than 0 ends that.

    The status is Isthmus's own where that is 2 to 5. Raises UnreachableError where it is not there, or the
    connection was lost; `refused` for any other end.
    """
    for step in wanted:
        # Its messages and its result come in order, as somebody who sits there would see them.
        running = link.start(f"exec sh -c {shlex.quote(f'exec 2>&1; exec {shlex.join(step.words)}')}")
        try:
            running.feed(())
            for line in lines_of(running.stdout):
                say(line)
            status = running.finish((*_STATUSES, *_NO_SUCH_COMMAND))
        finally:
            running.stop()
        if status in _NO_SUCH_COMMAND:
            raise UnreachableError(
                "refused",
                f"{step.words[0]} is not installed on the far side",
                where=link.where,
                hint="install it from the bundle: python3 bootstrap.py --key isthmus.pub; or say where it is with "
                "--remote-isthmus",
            )
        if status:
            return status
    return 0
