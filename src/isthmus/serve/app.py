"""The aiohttp application: routes, limits, and what every answer carries. Not here: sockets and threads."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from isthmus.errors import IsthmusError
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve.answers import RefusedError, error_answer, json_answer
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.links import Links, open_links
from isthmus.serve.misses import Misses
from isthmus.serve.registry_api import RegistryApi
from isthmus.serve.writing import Writer
from isthmus.store import Store

MAX_BODY = 64 * 1024
"""Bytes of a request's body where nothing reads it in pieces."""

MAX_HEADER = 16 * 1024
"""Bytes of a request line and of each header."""

_log = logging.getLogger("isthmus.serve")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(store: Store, mapping: MirrorMap, *, writable: bool = False) -> web.Application:
    """An application that serves a store under the names of a mapping; pushes are taken where `writable`.

    Raises what opening the names raises: `damaged-store`, `mapping-collision`, `io-failed`.
    """
    misses = Misses()
    links = open_links(store.path, writable=writable)
    catalogue = Catalogue(store, mapping, links)
    app = web.Application(middlewares=[_errors], client_max_size=MAX_BODY)
    writer = Writer(catalogue, links) if writable and links is not None else None
    if writer is not None:
        writer.protect()
    app.cleanup_ctx.append(_state(links, writer))
    api = RegistryApi(catalogue, misses, writer)
    app.router.add_route("*", "/v2", api.handle)
    app.router.add_route("*", "/v2/{rest:.*}", api.handle)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/missing", _missing(catalogue, misses))
    app.on_response_prepare.append(_common_headers)
    return app


def _state(links: Links | None, writer: Writer | None) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        tidying = asyncio.create_task(writer.tidy_for_ever()) if writer is not None else None
        yield
        if tidying is not None:
            tidying.cancel()
        if links is not None:
            links.close()

    return context


async def _healthz(_request: web.Request) -> web.StreamResponse:
    return json_answer({"status": "ok"})


def _missing(catalogue: Catalogue, misses: Misses) -> _Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        """Forget what came in since it was asked for."""
        for wanted in misses.wanted():
            if await catalogue.has(wanted.asked, wanted.namespace, wanted.digest, wanted.tag):
                misses.forget(wanted)
        return json_answer(misses.document())

    return handler


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn refusals and failures into the error bodies of the specification."""
    try:
        return await handler(request)
    except RefusedError as refusal:
        return error_answer(refusal)
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return error_answer(RefusedError(error.status, "UNSUPPORTED", error.reason, headers))
    except ConnectionResetError:
        raise  # nobody is there to be answered
    except IsthmusError as error:
        _log.error("%s %s: %s", request.method, request.path, error)
        # What failed is for the log; paths of this machine are not for whoever asks.
        return error_answer(RefusedError(500, "UNKNOWN", f"the store cannot be read ({error.code})"))


async def _common_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "isthmus"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.path.startswith("/v2"):
        response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
