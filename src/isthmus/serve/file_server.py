"""The file server: what nodes download besides images, straight from the store's artifacts (decision 0005).

Beside them a plain directory is served, where there is one; artifacts come first. Ranges, conditional requests,
listings, SHA256SUMS in every directory, charts' `index.yaml`, and git. Who may do what, counters, the audit log
and what was asked for in vain are the registry's. Not here: which paths there are (`shelf`, `tree`).
"""

import asyncio
import os
import stat
from collections.abc import MutableSet
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from isthmus.content.naming import HOST
from isthmus.errors import IncompleteError
from isthmus.serve.access import CALLER
from isthmus.serve.answers import RefusedError, json_answer
from isthmus.serve.chart_index import INDEX
from isthmus.serve.file_listing import listing, sums
from isthmus.serve.file_types import TEXT, media_type
from isthmus.serve.git_http import GitHttp
from isthmus.serve.misses import Wanted
from isthmus.serve.observing import observing
from isthmus.serve.opened import opened_file
from isthmus.serve.parts import Parts
from isthmus.serve.sending import send_open
from isthmus.serve.shelf import Held
from isthmus.serve.shelves import Now, Shelves
from isthmus.serve.target import TARGET, Target
from isthmus.serve.tree import SUMS, NotThereError, Tree, split_path

DIRECTORY = "files"
"""The name of the directory in a store."""

_PROBES = ("favicon.ico", "robots.txt")


def create_file_app(parts: Parts, root: Path, state: Path, silent: MutableSet[Any]) -> web.Application:
    """An application that serves the store's artifacts, and the directory `root`, which need not be there.

    `state` is a directory for git; `silent` holds connections that have not asked for anything yet.
    """
    server = FileServer(parts, Tree(root), state)
    app = web.Application(middlewares=[observing(parts.metrics, parts.audit, silent)], client_max_size=1024)
    app.router.add_get("/healthz", _healthz)
    app.router.add_route("*", "/{path:.*}", server.handle)
    app.on_response_prepare.append(_common_headers)
    parts.misses.has_file = server.has
    return app


async def _healthz(_request: web.Request) -> web.StreamResponse:
    return json_answer({"status": "ok"})


class FileServer:
    """Answers every request."""

    def __init__(self, parts: Parts, tree: Tree, state: Path) -> None:
        self._parts = parts
        self._catalogue = parts.catalogue
        self._tree = tree
        self._shelves = Shelves(parts.catalogue.store)
        self._git = GitHttp(parts.catalogue.store, state)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raw_path = request.rel_url.raw_path
        try:
            names = split_path(raw_path)
        except NotThereError:
            raise _not_here() from None
        path = "/".join(names)
        request[TARGET] = Target("files", path)
        now = await self._shelves.now()
        real = now.shelf.real(path)
        await self._admit(request, real, now)
        where, rest = now.shelf.repository_of(real)
        if where and rest:
            request[TARGET] = Target("git", where)
            answer = await self._git.answer(request, now.shelf.git[where], rest)
            if answer is not None:
                return answer
        if request.method not in ("GET", "HEAD"):
            raise RefusedError(405, "UNSUPPORTED", "files are read-only", {"Allow": "GET, HEAD"})
        try:
            return await self._get(request, now, names, real)
        except NotThereError:
            if not where:
                self._missed(request, path)
            raise _not_here() from None

    async def _admit(self, request: web.Request, real: str, now: Now) -> None:
        """Raise RefusedError where the caller may not read that; rights go by the artifact's name in the store."""
        access = self._parts.access
        if access is None:
            return
        caller = request[CALLER] = await access.caller(request)
        held = now.shelf.files.get(real)
        access.check_file(caller, held.repository if held else f"{HOST}/files/{real}")

    async def _get(self, request: web.Request, now: Now, names: tuple[str, ...], real: str) -> web.StreamResponse:
        held = now.shelf.files.get(real)
        if held is not None:
            return await self._held(request, real, held)
        if real == INDEX:
            headers = {"Content-Type": "application/yaml", "Cache-Control": "no-cache"}
            return web.Response(body=now.charts, headers=headers)
        if real in now.shelf.directories:
            if not request.rel_url.raw_path.endswith("/"):
                return _with_slash(names)
            items = {item.name: item for item in await self._items(names)}
            return listing(request, names, (items | now.shelf.directories[real]).values())
        if names and names[-1] == SUMS:
            return await self._sums(now, names[:-1])
        return await self._plain(request, names)

    async def _held(self, request: web.Request, real: str, held: Held) -> web.StreamResponse:
        request[TARGET] = Target("files", real, digest=held.digest)
        try:
            opened = await self._catalogue.open(held.digest, held.size)
        except IncompleteError:
            raise NotThereError from None
        changed = held.changed or opened.changed() or 0.0
        headers = {"Content-Type": media_type(real), "ETag": f'"{held.digest}"', "Cache-Control": "no-cache"}
        if changed:
            headers["Last-Modified"] = formatdate(changed, usegmt=True)
        return await send_open(request, opened, headers)

    async def _plain(self, request: web.Request, names: tuple[str, ...]) -> web.StreamResponse:
        descriptor, status = await asyncio.to_thread(self._tree.open, names)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            if not request.rel_url.raw_path.endswith("/"):
                return _with_slash(names)
            return listing(request, names, await asyncio.to_thread(self._tree.items, names))
        headers = {
            "Content-Type": media_type(names[-1]),
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "ETag": f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Cache-Control": "no-cache",
        }
        return await send_open(request, opened_file(descriptor, status.st_size), headers)

    async def _items(self, names: tuple[str, ...]) -> Any:
        try:
            return await asyncio.to_thread(self._tree.items, names)
        except NotThereError:
            return ()

    async def _sums(self, now: Now, names: tuple[str, ...]) -> web.StreamResponse:
        """As it was delivered, where there is such a file; else from what artifacts say, without hashing."""
        try:
            descriptor, status = await asyncio.to_thread(self._tree.open, (*names, SUMS))
        except NotThereError:
            pass
        else:
            with opened_file(descriptor, status.st_size) as opened:
                body = await asyncio.to_thread(opened.pieces[0].file.read, status.st_size)
            return web.Response(body=body, headers={"Content-Type": TEXT})
        real = now.shelf.real("/".join(names))
        found: dict[str, str] = {}
        try:
            found = await asyncio.to_thread(self._tree.sums, names)
        except NotThereError:
            if real not in now.shelf.directories:
                raise
        for name in now.shelf.directories.get(real, {}):
            held = now.shelf.files.get(f"{real}/{name}" if real else name)
            if held is not None and held.digest.algorithm == "sha256":
                found[name] = held.digest.hex
        return web.Response(body=sums(found), headers={"Content-Type": TEXT, "Cache-Control": "no-cache"})

    async def has(self, path: str) -> bool:
        """Whether a path is there by now."""
        now = await self._shelves.now()
        real = now.shelf.real(path)
        if real in now.shelf.files or real in now.shelf.directories:
            return True
        try:
            descriptor, _ = await asyncio.to_thread(self._tree.open, split_path(path))
        except NotThereError:
            return False
        os.close(descriptor)
        return True

    def _missed(self, request: web.Request, path: str) -> None:
        if not path or path in _PROBES:
            return
        host = path.partition("/")[0]
        name = f"https://{path}" if "." in host and host != path else path
        caller = request.get(CALLER)
        who = caller.name if caller else ""
        by = f"{who} ({request.remote})" if who else request.remote or ""
        self._parts.misses.add(Wanted(name, "files", path, None, None, ""), by)


def _not_here() -> RefusedError:
    return RefusedError(404, "FILE_UNKNOWN", "that was not carried here")


def _with_slash(names: tuple[str, ...]) -> web.Response:
    return web.Response(status=301, headers={"Location": "/" + "/".join(map(quote, names)) + "/"})


async def _common_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "isthmus"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
