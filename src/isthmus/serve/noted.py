"""Keys for what is noted of a request while it is answered; plain strings where aiohttp has no typed ones yet."""

from typing import Any

from aiohttp import web


def request_key(name: str, kind: type) -> Any:
    """A key for `request[key]`."""
    make = getattr(web, "RequestKey", None)
    return make(name, kind) if make is not None else f"isthmus.{name}"
