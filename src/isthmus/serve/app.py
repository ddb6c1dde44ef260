"""The aiohttp application: its parts put together, routes, and what every answer carries.

Not here: sockets and threads (`hosting`).
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableSet
from typing import Any

from aiohttp import web

from isthmus.errors import IsthmusError
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve.access import CALLER, TOKEN_PATH, Access
from isthmus.serve.answers import RefusedError, json_answer
from isthmus.serve.audit import Audit
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.collecting import Collecting
from isthmus.serve.disk import DiskWatch
from isthmus.serve.links import Links, open_links
from isthmus.serve.metrics import CONTENT_TYPE, Metrics
from isthmus.serve.misses import Misses
from isthmus.serve.observing import observing
from isthmus.serve.options import Listen
from isthmus.serve.parts import PARTS, Parts
from isthmus.serve.registry_api import RegistryApi
from isthmus.serve.shared import Share
from isthmus.serve.surveying import Surveys
from isthmus.serve.users import Users
from isthmus.serve.writing import Writer
from isthmus.store import Store

MAX_BODY = 64 * 1024
"""Bytes of a request's body where nothing reads it in pieces."""

MAX_HEADER = 16 * 1024
"""Bytes of a request line and of each header."""

WATCH_SECONDS = 5.0
"""How often the files of users, of the audit log and of TLS are looked at."""

_log = logging.getLogger("isthmus.serve")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    store: Store,
    mapping: MirrorMap,
    listen: Listen | None = None,
    silent: MutableSet[Any] | None = None,
    share: Share | None = None,
) -> web.Application:
    """An application that serves a store under the names of a mapping, as `listen` says.

    Raises what opening the files raises: `damaged-store`, `mapping-collision`, `io-failed`, `invalid-config`,
    `file-not-found`.
    """
    listen = listen or Listen()
    share = share or Share()
    misses = Misses(share)
    users = Users(listen.auth) if listen.auth else None
    audit = Audit(listen.audit) if listen.audit else None
    links = open_links(store.path, writable=listen.writable, worker=share.number if share.count > 1 else None)
    try:
        catalogue = Catalogue(store, mapping, links)
    except IsthmusError:
        _state_closed(links, audit)
        raise
    surveys = Surveys(store.path, share)
    disk = DiskWatch(store, surveys.counted)
    metrics = Metrics(catalogue, misses, disk, share)
    access = Access(users, anonymous_pull=listen.anonymous_pull, key=share.key) if users else None
    writer = Writer(catalogue, links, access) if listen.writable and links is not None else None
    if writer is not None:
        writer.protect()
    around = observing(metrics, audit, silent if silent is not None else set())
    app = web.Application(middlewares=[around], client_max_size=MAX_BODY)
    collecting = Collecting(store, listen) if share.is_first and listen.collect_every else None
    app.cleanup_ctx.append(_state(links, writer, users, audit, metrics, collecting))
    app.cleanup_ctx.append(_counting(disk, surveys))
    api = RegistryApi(catalogue, misses, writer, access)
    app.router.add_route("*", "/v2", api.handle)
    app.router.add_route("*", "/v2/{rest:.*}", api.handle)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz(catalogue, listen))
    app.router.add_get("/metrics", _metrics(metrics))
    app.router.add_get("/missing", _missing(catalogue, misses, access))
    if access is not None:
        app.router.add_get(TOKEN_PATH, access.issue)
        app.router.add_post(TOKEN_PATH, access.issue)
    if listen.console:
        from isthmus.serve.console import add_console, make_parts

        pushes = writer.pushes if writer is not None else None
        parts = make_parts(
            catalogue,
            misses,
            mapping,
            listen,
            disk,
            surveys,
            access=access,
            users=users,
            pushes=pushes,
            share=share,
        )
        add_console(app, parts)
    app.on_response_prepare.append(_common_headers)
    app[PARTS] = Parts(catalogue, misses, metrics, disk, audit, access)
    return app


def _state(
    links: Links | None,
    writer: Writer | None,
    users: Users | None,
    audit: Audit | None,
    metrics: Metrics,
    collecting: Collecting | None,
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_watch(users, audit))]
        if writer is not None:
            tasks.append(asyncio.create_task(writer.tidy_for_ever()))
        if metrics.is_shared:
            tasks.append(asyncio.create_task(metrics.tell_for_ever()))
        if collecting is not None:
            tasks.append(asyncio.create_task(collecting.for_ever()))
        yield
        for task in tasks:
            task.cancel()
        _state_closed(links, audit)

    return context


def _counting(disk: DiskWatch, surveys: Surveys) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        beginning = asyncio.create_task(disk.begin())
        yield
        beginning.cancel()
        surveys.stop()
        await disk.close()

    return context


def _state_closed(links: Links | None, audit: Audit | None) -> None:
    if links is not None:
        links.close()
    if audit is not None:
        audit.close()


async def _watch(users: Users | None, audit: Audit | None) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            if users is not None:
                await asyncio.to_thread(users.reload)
            if audit is not None:
                audit.reopen()
        except IsthmusError as error:
            _log.error("%s; what was there before stays", error)


async def _healthz(_request: web.Request) -> web.StreamResponse:
    return json_answer({"status": "ok"})


def _readyz(catalogue: Catalogue, listen: Listen) -> _Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        """Whether the store can be read now, and written where that is wanted."""
        try:
            await catalogue.names()
            os.stat(catalogue.store.path / "index.json")
            if listen.writable and not os.access(catalogue.store.path, os.W_OK):
                return json_answer({"status": "the store cannot be written"}, status=503)
        except (IsthmusError, OSError):
            return json_answer({"status": "the store cannot be read"}, status=503)
        return json_answer({"status": "ok"})

    return handler


def _metrics(metrics: Metrics) -> _Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        try:
            text = await metrics.text()
        except OSError as error:
            raise RefusedError(503, "UNKNOWN", "the store cannot be read") from error
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    return handler


def _missing(catalogue: Catalogue, misses: Misses, access: Access | None) -> _Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        """Forget what came in since it was asked for. Its names are not for everybody."""
        if access is not None:
            caller = request[CALLER] = await access.caller(request)
            access.check_someone(request, caller)
        await misses.forget_found(catalogue)
        return json_answer(misses.document())

    return handler


async def _common_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "isthmus"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.path.startswith("/v2"):
        response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
