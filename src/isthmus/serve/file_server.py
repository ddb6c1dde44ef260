"""The static file server: what nodes download besides images, from `files/` in the store, open and read-only.

Ranges, conditional requests, listings (HTML, or JSON where that is accepted), and SHA256SUMS in every directory.
Not here: which paths lead where (`tree`).
"""

import asyncio
import html
import mimetypes
import os
import stat
from collections.abc import Awaitable, Callable, MutableSet
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from isthmus.serve.answers import json_answer
from isthmus.serve.sending import send_open
from isthmus.serve.tree import SUMS, Item, NotThereError, Tree, split_path

DIRECTORY = "files"
"""The name of the directory in a store."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TYPES = {
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".tgz": "application/gzip",
    ".gz": "application/gzip",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
    ".bz2": "application/x-bzip2",
    ".deb": "application/vnd.debian.binary-package",
    ".rpm": "application/x-rpm",
    ".asc": "text/plain; charset=utf-8",
    ".sha256": "text/plain; charset=utf-8",
    ".repo": "text/plain; charset=utf-8",
}


def create_file_app(root: Path, silent: MutableSet[Any]) -> web.Application:
    """An application that serves a directory, which need not be there yet.

    `silent` holds connections that have not asked for anything yet.
    """

    @web.middleware
    async def heard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        silent.discard(request.protocol)
        return await handler(request)

    tree = Tree(root)
    app = web.Application(middlewares=[heard], client_max_size=1024)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/{path:.*}", _serving(tree))
    app.on_response_prepare.append(_common_headers)
    return app


async def _healthz(_request: web.Request) -> web.StreamResponse:
    return json_answer({"status": "ok"})


def _serving(tree: Tree) -> _Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        raw_path = request.rel_url.raw_path
        try:
            parts = split_path(raw_path)
            try:
                descriptor, status = await asyncio.to_thread(tree.open, parts)
            except NotThereError:
                if parts[-1:] != (SUMS,):
                    raise
                body = await asyncio.to_thread(tree.sums, parts[:-1])
                return web.Response(body=body, headers={"Content-Type": "text/plain; charset=utf-8"})
            if stat.S_ISREG(status.st_mode):
                return await _file(request, descriptor, status, parts[-1])
            os.close(descriptor)
            if not raw_path.endswith("/"):
                raise web.HTTPMovedPermanently("/" + "/".join(map(quote, parts)) + "/")
            return _listing(request, parts, await asyncio.to_thread(tree.items, parts))
        except NotThereError:
            raise web.HTTPNotFound(text="not here\n") from None

    return handler


async def _file(request: web.Request, descriptor: int, status: os.stat_result, name: str) -> web.StreamResponse:
    headers = {
        "Content-Type": _type(name),
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        "ETag": f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"',
        "Cache-Control": "no-cache",
    }
    return await send_open(request, descriptor, status.st_size, headers)


def _type(name: str) -> str:
    """The media type; never a content encoding, since the bytes are what has the checksum."""
    known = _TYPES.get(os.path.splitext(name)[1].lower())
    if known is not None:
        return known
    if name == SUMS:
        return "text/plain; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _listing(request: web.Request, parts: tuple[str, ...], items: list[Item]) -> web.Response:
    if "application/json" in request.headers.get("Accept", ""):
        entries = [
            {"name": item.name, "directory": item.is_directory, "size": item.size, "changed": _time(item.changed)}
            for item in items
        ]
        return json_answer({"path": "/".join(parts), "entries": entries})
    title = html.escape("/" + "/".join(parts))
    rows = ['<tr><td><a href="../">..</a></td><td></td><td></td></tr>'] if parts else []
    for item in items:
        slash = "/" if item.is_directory else ""
        link = f'<a href="./{quote(item.name)}{slash}">{html.escape(item.name)}{slash}</a>'
        size = "" if item.is_directory else str(item.size)
        rows.append(f"<tr><td>{link}</td><td>{size}</td><td>{_time(item.changed)}</td></tr>")
    head = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
    table = "<table><thead><tr><th>Name</th><th>Bytes</th><th>Changed</th></tr></thead><tbody>\n"
    body = f"{head}<body><h1>{title}</h1>\n{table}" + "\n".join(rows) + "\n</tbody></table></body></html>\n"
    return web.Response(body=body.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _common_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "isthmus"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
