"""Requests that change something: finds the repository that is meant and hands over to `uploads` or `pushing`.

Also what has to be done from time to time: forgetting uploads and links that led to nothing, and giving up the
protection from collection that they had.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.oci import Digest, Manifest
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.serve.access import Access
from isthmus.serve.answers import RefusedError
from isthmus.serve.bodies import read_small
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.links import KEEP_SECONDS, Links
from isthmus.serve.pushing import Pushing, needed_blobs, read_manifest
from isthmus.serve.target import Target, checked_tag
from isthmus.serve.uploads import Uploads

TIDY_SECONDS = 3600.0
MAX_TAGS = 64
"""Tags that one push may set (`?tag=`)."""

_log = logging.getLogger("isthmus.serve")
_Handler = Callable[[web.Request, Target, str], Awaitable[web.Response]]


class Writer:
    """Answers POST, PATCH, PUT and DELETE, and GET of an upload. Raises RefusedError, or as the store does."""

    def __init__(self, catalogue: Catalogue, links: Links, access: Access | None = None) -> None:
        self._catalogue = catalogue
        self._links = links
        self._pushing = Pushing(catalogue.store, links)
        self._in_use: list[frozenset[Digest]] = []  # by pushes of manifests that are not named yet
        uploads = Uploads(catalogue, links, access)
        self.pushes = uploads.pushes
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("POST", "uploads"): uploads.begin,
            ("GET", "upload"): uploads.status,
            ("PATCH", "upload"): uploads.append,
            ("PUT", "upload"): uploads.finish,
            ("DELETE", "upload"): uploads.cancel,
            ("PUT", "manifests"): self._put_manifest,
            ("DELETE", "manifests"): self._delete_manifest,
            ("DELETE", "blobs"): self._delete_blob,
        }

    async def handle(self, request: web.Request, target: Target) -> web.Response:
        """Answer one request."""
        handler = self._handlers.get((request.method, target.kind))
        if handler is None:
            allowed = [method for method, kind in self._handlers if kind == target.kind]
            reading = ["GET", "HEAD"] if target.kind not in ("uploads", "upload") else []
            headers = {"Allow": ", ".join([*reading, *allowed])}
            raise RefusedError(405, "UNSUPPORTED", f"{request.method} is not for this", headers)
        names = await self._catalogue.names()
        try:
            return await handler(request, target, names.home(target.name))
        except UnreachableError as error:
            _log.error("%s %s: %s", request.method, request.path, error)
            raise RefusedError(507, "UNKNOWN", "the store cannot take more at the moment (io-failed)") from error

    async def _put_manifest(self, request: web.Request, target: Target, repository: str) -> web.Response:
        raw = await read_small(request, MAX_MANIFEST_SIZE)
        manifest = await asyncio.to_thread(
            read_manifest, raw, request.headers.get("Content-Type", ""), target.digest
        )
        if target.digest is None:
            tags = [target.tag]
        else:
            tags = [checked_tag(tag) for tag in request.query.getall("tag", [])]
        if len(tags) > MAX_TAGS:
            raise RefusedError(414, "TAG_INVALID", f"more than {MAX_TAGS} tags at once")
        in_use = frozenset({manifest.digest, *(part.digest for part in (*manifest.blobs, *manifest.manifests))})
        self._in_use.append(in_use)
        try:
            await asyncio.to_thread(
                self._protect, in_use
            )  # from here on no collection takes what is looked for next
            await self._check_parts(repository, manifest)
            await asyncio.to_thread(self._pushing.put, repository, manifest, tags)
        finally:
            self._in_use.remove(in_use)
        self._catalogue.forget(repository)
        return _pushed(target, manifest, tags)

    async def _check_parts(self, repository: str, manifest: Manifest) -> None:
        names = await self._catalogue.names()
        for blob in needed_blobs(manifest):
            size = await self._catalogue.size(names, repository, blob.digest)
            held = await self._catalogue.held(blob.digest)
            if size is None or held is None:
                raise RefusedError(
                    404, "MANIFEST_BLOB_UNKNOWN", f"{blob.digest} was not pushed to this repository"
                )
            if held != blob.size:
                raise RefusedError(400, "SIZE_INVALID", f"{blob.digest} does not have {blob.size} bytes")

    async def _delete_manifest(self, _request: web.Request, target: Target, repository: str) -> web.Response:
        names = await self._catalogue.names()
        if target.digest is None:
            if not await asyncio.to_thread(self._pushing.delete_tag, repository, target.tag):
                raise RefusedError(404, "MANIFEST_UNKNOWN", f"there is no tag {target.tag}")
        else:
            reach = await self._catalogue.reach_of(names, repository, target.digest)
            if target.digest not in reach.manifests:
                raise RefusedError(404, "MANIFEST_UNKNOWN", f"there is no {target.digest}")
            await asyncio.to_thread(self._pushing.delete_manifest, repository, target.digest, reach)
        self._catalogue.forget(repository)
        return web.Response(status=202)

    async def _delete_blob(self, _request: web.Request, target: Target, repository: str) -> web.Response:
        names = await self._catalogue.names()
        assert target.digest is not None
        if await self._catalogue.size(names, repository, target.digest) is None:
            raise RefusedError(404, "BLOB_UNKNOWN", f"there is no {target.digest}")
        reach = await self._catalogue.reach(names, repository)
        await asyncio.to_thread(self._pushing.delete_blob, repository, target.digest, reach)
        return web.Response(status=202)

    def protect(self) -> None:
        """Protect what waits for a manifest from collection, as after a restart."""
        self._protect(self._links.needed())

    def _protect(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._catalogue.store.protect(digest)

    async def tidy_for_ever(self) -> None:
        """Tidy every hour. Never ends by itself."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                await asyncio.to_thread(self.tidy)
            except IsthmusError as error:
                _log.error("tidying: %s", error)

    def tidy(self, keep_seconds: float = KEEP_SECONDS) -> None:
        """Forget what led to nothing for so long. Bytes are removed by the next collection."""
        self._catalogue.store.sweep_uploads(keep_seconds)
        self._links.expire(time.time() - keep_seconds)
        self._catalogue.store.protect_only(lambda: self._links.needed().union(*self._in_use))


def _pushed(target: Target, manifest: Manifest, tags: list[str]) -> web.Response:
    headers = {
        "Location": f"/v2/{target.name}/manifests/{manifest.digest}",
        "Docker-Content-Digest": str(manifest.digest),
    }
    if manifest.subject:
        headers["OCI-Subject"] = str(manifest.subject.digest)
    if target.digest is not None and tags:
        headers["OCI-Tag"] = ", ".join(tags)
    return web.Response(status=201, headers=headers)
