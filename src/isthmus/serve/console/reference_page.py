"""The page of one reference, and the raw manifest behind it."""

import asyncio
from dataclasses import replace

from aiohttp import web

from isthmus.errors import IsthmusError, UsageError
from isthmus.oci import Digest, Reference
from isthmus.serve.console.detail import Detail, find_detail
from isthmus.serve.console.gate import Viewer
from isthmus.serve.console.nodes import address_of, commands, inside_name
from isthmus.serve.console.pages import show
from isthmus.serve.console.parts import Parts
from isthmus.serve.console.rendering import HEADERS
from isthmus.serve.facts import find_facts

SHOWN_JSON = 200_000
"""Characters of a manifest that the page itself shows."""


class ReferencePages:
    """Answers requests of viewers. Raises what the store raises, and HTTPNotFound."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def page(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Everything about a reference, or with `digest` about a manifest below it."""
        detail = await self._detail(request, viewer)
        row, address = detail.row, address_of(request)
        text = detail.manifest.raw.decode("utf-8", "replace")
        files_url = ""
        if row.facts and row.facts.serve and self._parts.files_port:
            host = address.host.rpartition(":")[0] if ":" in address.host else address.host
            scheme = address.url.partition(":")[0]
            files_url = f"{scheme}://{host}:{self._parts.files_port}/{row.facts.serve.lstrip('/')}"
        values = {
            "detail": detail,
            "row": row,
            "inside": f"{address.host}/{inside_name(self._parts.mapping, Reference.parse(row.name))}",
            "commands": commands(row, self._parts.mapping, address) if detail.is_root else [],
            "files_url": files_url,
            "json": text[:SHOWN_JSON],
            "is_cut": len(text) > SHOWN_JSON,
            "is_complete": self._parts.holdings.is_complete,
        }
        return show(self._parts, "reference.html", viewer, "contents", values)

    async def raw(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """A manifest's very bytes."""
        manifest = (await self._detail(request, viewer)).manifest
        headers = {**HEADERS, "Content-Type": "application/json", "Docker-Content-Digest": str(manifest.digest)}
        headers["Content-Disposition"] = f'attachment; filename="{manifest.digest.replace(":", "-")}.json"'
        return web.Response(body=manifest.raw, headers=headers)

    async def _detail(self, request: web.Request, viewer: Viewer) -> Detail:
        snapshot = await self._parts.holdings.current()
        row = snapshot.by_name.get(request.match_info["name"])
        if row is None or not viewer.may_see(row.repository):
            raise web.HTTPNotFound
        catalogue = self._parts.catalogue
        if row.facts is None:  # the others are still being read
            row = replace(row, facts=await asyncio.to_thread(find_facts, catalogue.store, row.descriptor))
        names = await catalogue.names()
        hidden = catalogue.links.of(row.repository, "hidden") if catalogue.links is not None else ()
        try:
            digest = Digest(request.query["digest"]) if "digest" in request.query else None
            detail = await asyncio.to_thread(find_detail, catalogue.store, row, names, digest, hidden)
        except UsageError:
            raise web.HTTPNotFound from None
        except IsthmusError as error:
            if error.code == "not-found":
                raise web.HTTPNotFound from None
            raise
        if detail is None:
            raise web.HTTPNotFound
        return detail
