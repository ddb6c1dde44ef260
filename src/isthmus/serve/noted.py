"""What is noted of a request while it is answered: keys, plain strings where aiohttp has no typed ones; logins."""

from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web


def request_key(name: str, kind: type) -> Any:
    """A key for `request[key]`."""
    make = getattr(web, "RequestKey", None)
    return make(name, kind) if make is not None else f"isthmus.{name}"


@dataclass(frozen=True)
class Attempt:
    """A login or a logout. `code` says why it was refused, empty where it was not.

    `user` is who was shown to be that, `claimed` a user's name of which nobody was. A form's name that is no
    user's is neither: people type passwords there.
    """

    action: Literal["login", "logout"]
    user: str = ""
    code: str = ""
    claimed: str = ""


ATTEMPT = request_key("attempt", Attempt)
"""Where a request keeps that it is one."""

CLAIMED = request_key("claimed", str)
"""Where a request keeps the name that its credentials are for, before they are looked at."""

MAX_CLAIMED = 128
"""Characters of such a name that are kept, which is as long as a user's may be."""


def claimed_name(text: str) -> str:
    """A name that anybody may have sent, as one line of bounded length that a terminal can show."""
    cut = text[:MAX_CLAIMED]
    shown = "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in cut)
    return shown if len(text) <= MAX_CLAIMED else f"{shown}…"
