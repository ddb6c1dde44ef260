"""The console's addresses, and what is around every page: who looks, errors as pages, sessions that go on.

Not here: what pages say (`pages`), the form for logging in (`login`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

from aiohttp import web

from isthmus.errors import IsthmusError
from isthmus.serve.answers import RefusedError
from isthmus.serve.console.downloading import Downloads
from isthmus.serve.console.gate import BASIC, PATH, LoginNeededError, Viewer
from isthmus.serve.console.login import Login
from isthmus.serve.console.pages import Pages
from isthmus.serve.console.parts import Parts
from isthmus.serve.console.reference_page import ReferencePages
from isthmus.serve.disk import BEGIN_SECONDS

_log = logging.getLogger("isthmus.serve")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Page: TypeAlias = Callable[[web.Request, Viewer], Awaitable[web.StreamResponse]]


def add_console(app: web.Application, parts: Parts) -> None:
    """Add `/` and everything below `/console/` to an application."""
    around = _Around(parts)
    login = Login(parts.gate, parts.renderer)
    pages, references, downloads = Pages(parts), ReferencePages(parts), Downloads(parts)
    shown: dict[str, _Page] = {
        "/": pages.overview,
        "/contents": pages.contents,
        "/search": pages.search,
        "/reference/{name:.+}": references.page,
        "/manifest/{name:.+}": references.raw,
        "/bundles": pages.bundles,
        "/coverage": pages.coverage,
        "/missing": pages.missing,
        "/disk": pages.disk,
        "/activity": pages.activity,
        "/activity/now": pages.activity_now,
        "/nodes": downloads.nodes,
        "/downloads": downloads.page,
        "/downloads/ca.pem": downloads.ca,
        "/downloads/isthmus.lock": downloads.lock,
        "/downloads/install-containerd.sh": downloads.script,
        "/downloads/containerd-certs.d.tar": downloads.archive,
        "/downloads/hosts/{host}/hosts.toml": downloads.hosts,
        "/downloads/reports/{name}": downloads.report,
    }
    add = app.router.add_get
    add("/", _to_console)
    add(PATH, _to_console)
    for path, page in shown.items():
        add(PATH + path, around.page(page))
    add(f"{PATH}/static/{{file}}", around.open(_static(parts)))
    add(f"{PATH}/login", around.open(login.form))
    app.router.add_post(f"{PATH}/login", around.open(login.submit))
    app.router.add_post(f"{PATH}/logout", around.open(login.leave))
    add(f"{PATH}/{{rest:.*}}", around.page(_nothing))
    app.cleanup_ctx.append(_closing(parts))


async def _to_console(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers={"Location": f"{PATH}/"})


async def _nothing(_request: web.Request, _viewer: Viewer) -> web.StreamResponse:
    raise web.HTTPNotFound


def _static(parts: Parts) -> _Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return parts.renderer.static(request)

    return handler


def _closing(parts: Parts) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_begin(parts))]
        if parts.share.count > 1:
            tasks.append(asyncio.create_task(_tell_for_ever(parts)))
        yield
        for task in tasks:
            task.cancel()
        await parts.holdings.close()

    return context


async def _begin(parts: Parts) -> None:
    """Read what the store holds before anybody asks, when the server listens."""
    await asyncio.sleep(BEGIN_SECONDS)
    try:
        await parts.holdings.current()
    except IsthmusError as error:
        _log.error("the console cannot read what the store holds: %s", error)


async def _tell_for_ever(parts: Parts) -> None:
    """Tell the other workers what is pushed to this one, every second where there is news."""
    last = b"[]"
    while parts.pushes is not None:
        data = parts.pushes.told()
        if data != last:
            last = data
            await asyncio.to_thread(parts.share.tell, "pushes", data)
        await asyncio.sleep(1.0)


class _Around:
    """Makes handlers of pages."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._login = Login(parts.gate, parts.renderer)

    def page(self, page: _Page) -> _Handler:
        """For who may look; others are asked to log in."""

        async def handler(request: web.Request) -> web.StreamResponse:
            viewer = await self._parts.gate.viewer(request)
            try:
                answer = await page(request, viewer)
            except (RefusedError, IsthmusError, web.HTTPException) as error:
                answer = self._failed(request, error, viewer)
            if viewer.session is not None and viewer.session.is_old(_now()):
                self._login.set_cookie(request, answer, self._parts.gate.sessions.go_on(viewer.session))
            return answer

        return self.open(handler)

    def open(self, handler: _Handler) -> _Handler:
        """For everybody; errors become pages."""

        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except LoginNeededError:
                return self._ask(request)
            except (RefusedError, IsthmusError, web.HTTPException) as error:
                return self._failed(request, error, None)

        return answered

    def _ask(self, request: web.Request) -> web.StreamResponse:
        """To the form, where there is a browser; what is none is asked for Basic."""
        if "text/html" not in request.headers.get("Accept", "") and "HX-Request" not in request.headers:
            return self._error(401, "Log in for that.", None, BASIC)
        place = f"{PATH}/login?next={quote(request.rel_url.raw_path_qs, safe='')}"
        if "HX-Request" in request.headers:
            return self._error(401, "Log in for that.", None, {"HX-Redirect": f"{PATH}/login"})
        return web.Response(status=303, headers={"Location": place, "Cache-Control": "no-store"})

    def _failed(
        self, request: web.Request, error: RefusedError | IsthmusError | web.HTTPException, viewer: Viewer | None
    ) -> web.StreamResponse:
        if isinstance(error, web.HTTPException):
            if 300 <= error.status < 400:
                return web.Response(status=error.status, headers={"Location": error.headers["Location"]})
            text = "There is no such page." if error.status == 404 else f"{error.reason}."
            return self._error(error.status, text, viewer)
        if isinstance(error, RefusedError):
            return self._error(error.status, f"{error.message}.", viewer, dict(error.headers))
        _log.error("%s %s: %s", request.method, request.path, error)
        return self._error(500, f"The store cannot be read ({error.code}); the server's log says more.", viewer)

    def _error(
        self, status: int, text: str, viewer: Viewer | None, headers: dict[str, str] | None = None
    ) -> web.Response:
        values = {"status": status, "text": text[:1].upper() + text[1:]}
        if viewer is not None:
            values |= {"viewer": viewer, "logout_token": logout_token(self._parts, viewer)}
        return self._parts.renderer.page("error.html", values, status=status, headers=headers)


def logout_token(parts: Parts, viewer: Viewer) -> str:
    """What the button for logging out brings back."""
    return parts.gate.sessions.form_token(viewer.session.key) if viewer.session else ""


def _now() -> float:
    import time

    return time.time()
