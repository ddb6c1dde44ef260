"""Lists in pages: tags and the catalog (distribution-spec, "Listing tags"). Not here: referrers."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from isthmus.registry import failures
from isthmus.registry.challenge import repository_scope
from isthmus.registry.exchange import Response
from isthmus.registry.link import next_link
from isthmus.registry.session import Request, Session
from isthmus.registry.token import Scopes

PAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one page."""
MAX_PAGES = 100_000

_PAGE_SIZE = 1000
T = TypeVar("T")


class _Tags(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


class _Catalog(msgspec.Struct, frozen=True):
    repositories: tuple[str, ...] | None = None


def list_tags(session: Session, repository: str) -> tuple[str, ...]:
    """All tags of a repository, in the registry's order; raises UnreachableError (`not-found` and others)."""
    name = session.place.full_name(repository)
    where = f"{session.place.name}/{name}"
    found: list[str] = []
    target = f"/v2/{name}/tags/list?n={_PAGE_SIZE}"
    for _, body in pages(session, target, name, (repository_scope(name, "pull"),), where):
        found += _decode(body, _Tags, where).tags or ()
    return tuple(dict.fromkeys(found))


def list_repositories(session: Session) -> tuple[str, ...]:
    """All repositories; with a path prefix, those below it, named without it."""
    where = f"{session.place.name}/v2/_catalog"
    found: list[str] = []
    for _, body in pages(session, f"/v2/_catalog?n={_PAGE_SIZE}", "", ("registry:catalog:*",), where):
        found += _decode(body, _Catalog, where).repositories or ()
    prefix = f"{session.place.prefix}/" if session.place.prefix else ""
    return tuple(dict.fromkeys(name.removeprefix(prefix) for name in found if name.startswith(prefix)))


def pages(
    session: Session, target: str, repository: str, scopes: Scopes, where: str, *, limit: int = PAGE_LIMIT,
    accept: frozenset[int] = frozenset({200}), headers: dict[str, str] | None = None,
) -> Iterator[tuple[Response, bytes]]:  # fmt: skip
    """The pages that `Link: …; rel="next"` leads through, on the registry itself only."""
    seen: set[str] = set()
    onward: str | None = target
    while onward is not None:
        if onward in seen or len(seen) >= MAX_PAGES:
            raise failures.protocol("the registry's pages go round in a circle or have no end", where)
        seen.add(onward)
        request = Request(
            method="GET", target=onward, where=where, repository=repository, scopes=scopes, accept=accept,
            headers=headers or {},
        )  # fmt: skip
        response, body = session.read(request, limit)
        yield response, body
        link = next_link(response.header("Link"))
        if link is None:
            return
        origin, following = session.follow(response, onward, link, where)
        if origin != session.origin():
            raise failures.protocol(f"the registry's next page is on another host, {origin.authority}", where)
        onward = following


def _decode(body: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise failures.protocol("the registry answered with something other than a list in JSON", where) from None
