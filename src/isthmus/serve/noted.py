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

    `user` is a name that there is, or nothing: what else is typed there may be a password.
    """

    action: Literal["login", "logout"]
    user: str = ""
    code: str = ""


ATTEMPT = request_key("attempt", Attempt)
"""Where a request keeps that it is one."""
