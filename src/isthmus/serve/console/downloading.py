"""The pages for nodes and downloads, and the files that they offer."""

import asyncio

from aiohttp import web

from isthmus.serve.console import downloads, nodes
from isthmus.serve.console.gate import Viewer
from isthmus.serve.console.listing import visible
from isthmus.serve.console.pages import show
from isthmus.serve.console.parts import Parts
from isthmus.serve.console.rendering import HEADERS


class Downloads:
    """Answers requests of viewers. Raises HTTPNotFound, and what the store raises."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def nodes(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """How to set up nodes, ready to copy."""
        address, hosts = nodes.address_of(request), await self._hosts(viewer)
        ca = await self._ca()
        files = nodes.node_files(self._parts.mapping, address, hosts, has_ca=bool(ca))
        values = {
            "address": address,
            "hosts": hosts,
            "files": files,
            "has_ca": bool(ca),
            "mapping": self._parts.mapping,
            "needs_login": viewer.access is not None and not viewer.access.is_open,
            "certs": nodes.CERTS,
        }
        return show(self._parts, "nodes.html", viewer, "nodes", values)

    async def page(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """What can be downloaded."""
        store = self._parts.catalogue.store
        snapshot = await self._parts.holdings.current()
        values = {
            "address": nodes.address_of(request),
            "has_ca": bool(await self._ca()),
            "has_lock": snapshot.lock is not None and viewer.sees_all,
            "hosts": await self._hosts(viewer),
            "reports": await asyncio.to_thread(downloads.reports, store.path) if viewer.sees_all else [],
        }
        return show(self._parts, "downloads.html", viewer, "downloads", values)

    async def ca(self, _request: web.Request, _viewer: Viewer) -> web.StreamResponse:
        """The certificate of the site's CA."""
        return _attachment((await self._ca()) or None, "ca.pem", "application/x-pem-file")

    async def lock(self, _request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The lock."""
        store = self._parts.catalogue.store.path
        data = await asyncio.to_thread(downloads.read_lock_file, store, self._parts.lock)
        return _attachment(data if viewer.sees_all else None, "isthmus.lock", "application/yaml")

    async def report(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """A report."""
        name = request.match_info["name"]
        store = self._parts.catalogue.store.path
        data = await asyncio.to_thread(downloads.read_report, store, name) if viewer.sees_all else None
        return _attachment(data, name, downloads.media_type(name))

    async def hosts(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The hosts.toml of one upstream host, or of `_default`."""
        host = request.match_info["host"]
        if host != "_default" and host not in await self._hosts(viewer):
            raise web.HTTPNotFound
        wanted = None if host == "_default" else host
        ca = bool(await self._ca())
        text = nodes.node_file(self._parts.mapping, nodes.address_of(request), wanted, has_ca=ca)
        return _attachment(text.encode(), "hosts.toml", "application/toml")

    async def script(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """A shell script that sets up containerd."""
        files, ca = await self._node_files(request, viewer)
        return _attachment(nodes.node_script(files, ca).encode(), "install-containerd.sh", "text/x-shellscript")

    async def archive(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The same files as an archive."""
        files, ca = await self._node_files(request, viewer)
        return _attachment(nodes.node_archive(files, ca), "containerd-certs.d.tar", "application/x-tar")

    async def _node_files(self, request: web.Request, viewer: Viewer) -> tuple[dict[str, str], str]:
        address, ca = nodes.address_of(request), (await self._ca()).decode("ascii")
        hosts = await self._hosts(viewer)
        files = nodes.node_files(self._parts.mapping, address, hosts, has_ca=bool(ca))
        return files, ca if address.is_secure else ""

    async def _hosts(self, viewer: Viewer) -> list[str]:
        return nodes.upstream_hosts(visible(await self._parts.holdings.current(), viewer))

    async def _ca(self) -> bytes:
        return await asyncio.to_thread(downloads.read_ca, self._parts.ca)


def _attachment(data: bytes | None, name: str, media_type: str) -> web.Response:
    if data is None:
        raise web.HTTPNotFound
    disposition = f'attachment; filename="{name}"'  # names were checked, or are ours
    return web.Response(
        body=data, headers={**HEADERS, "Content-Type": media_type, "Content-Disposition": disposition}
    )
