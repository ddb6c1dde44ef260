"""Pushing blobs (OCI distribution-spec 1.1, "Pushing Blobs"): whole, in chunks, streamed, or by a mount.

An upload is a file in the store (`store.uploads`), so that it can be gone on with after a restart. Its session
is a random number, and the file's name also says for which repository. Bytes are hashed in threads while they
come; a blob is linked to its repository before it is published, and answered for after both.
"""

import asyncio
import hashlib
import os
import re
import shutil
from collections import OrderedDict
from pathlib import Path

from aiohttp import web

from isthmus.errors import IncompleteError, UnreachableError, UsageError, VerificationError
from isthmus.oci import Digest
from isthmus.serve.access import CALLER, Access
from isthmus.serve.answers import RefusedError
from isthmus.serve.bodies import pieces
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.links import Links
from isthmus.serve.pushes import Pushes
from isthmus.serve.target import Target, checked_digest, checked_name
from isthmus.store import Running, Upload

MIN_FREE = 128 * 1024 * 1024
"""Bytes of the file system that uploads leave free."""

_RUNNING = 1024  # uploads whose hashes are remembered between chunks; others are read again at their end
_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?", re.ASCII)


class Uploads:
    """Answers requests under `/v2/NAME/blobs/uploads/`. Raises RefusedError, and what the store raises."""

    def __init__(self, catalogue: Catalogue, links: Links, access: Access | None) -> None:
        self._catalogue = catalogue
        self._access = access
        self._store = catalogue.store
        self._links = links
        self._running: OrderedDict[str, Running] = OrderedDict()
        self.pushes = Pushes()

    async def begin(self, request: web.Request, target: Target, repository: str) -> web.Response:
        """POST: mount a blob, take one whole, or open an upload."""
        mount = request.query.get("mount")
        if mount is not None and await self._mount(request, checked_digest(mount), repository):
            return _created(target.name, checked_digest(mount))
        digest = request.query.get("digest")
        wanted = checked_digest(digest) if digest is not None else None
        session = os.urandom(16).hex()
        file = _file(repository, session)
        await asyncio.to_thread(self._store.begin_upload, file)
        self.pushes.begin(file, repository, _who(request))
        if wanted is None:
            self._remember(file, Running(_algorithm(request)))
            return _accepted(target.name, session, 0)
        with await self._hold(file, Running(wanted.algorithm)) as upload:
            try:
                await self._append(request, upload, file)
                await asyncio.to_thread(self._finish, upload, repository, wanted)
            except BaseException:
                await asyncio.to_thread(upload.remove)  # nobody knows of this session
                raise
            finally:
                self.pushes.end(file)
        return _created(target.name, wanted)

    async def status(self, _request: web.Request, target: Target, repository: str) -> web.Response:
        """GET: how much is there."""
        return _progress(204, target.name, target.session, self._size(_file(repository, target.session)))

    async def append(self, request: web.Request, target: Target, repository: str) -> web.Response:
        """PATCH: the next chunk, or all of it as a stream."""
        file = _file(repository, target.session)
        with await self._hold(file) as upload:
            _check_range(request, target, upload.size)
            try:
                await self._append(request, upload, file)
            finally:
                self._remember(file, upload.running)
            return _accepted(target.name, target.session, upload.size)

    async def finish(self, request: web.Request, target: Target, repository: str) -> web.Response:
        """PUT: the last chunk, which may be empty, and the digest."""
        wanted = checked_digest(request.query.get("digest", ""))
        file = _file(repository, target.session)
        with await self._hold(file) as upload:
            if upload.size == 0 and upload.running.algorithm != wanted.algorithm:
                upload.running = Running(wanted.algorithm)
            _check_range(request, target, upload.size)
            try:
                await self._append(request, upload, file)
            finally:
                self._remember(file, upload.running)
            await asyncio.to_thread(self._finish, upload, repository, wanted)
        self._running.pop(file, None)
        self.pushes.end(file)
        return _created(target.name, wanted)

    async def cancel(self, _request: web.Request, target: Target, repository: str) -> web.Response:
        """DELETE: give it up."""
        file = _file(repository, target.session)
        with await self._hold(file) as upload:
            await asyncio.to_thread(upload.remove)
        self._running.pop(file, None)
        self.pushes.end(file)
        return web.Response(status=204)

    async def _mount(self, request: web.Request, digest: Digest, repository: str) -> bool:
        """Whether the blob belongs to the repository now.

        Without `from`, any repository may give it that the caller may read.
        """
        origin = request.query.get("from")
        names = await self._catalogue.names()
        if origin is not None:
            other = self._catalogue.repository(names, checked_name(origin), None)
            others = [other] if other is not None else []
        else:
            needed = await asyncio.to_thread(self._store.needed_by, digest)
            others = sorted({name.partition("@")[0].rpartition(":")[0] for name in needed})
            others += sorted(self._links.repositories(digest))
        for other in others:
            if self._access is not None and not self._access.may_read(request[CALLER], other):
                continue
            self._store.protect(digest)
            size = await self._catalogue.size(names, other, digest)
            if size is not None and await self._catalogue.held(digest) == size:
                await asyncio.to_thread(self._links.add, repository, digest, "blob")
                return True
        return False

    async def _hold(self, file: str, running: Running | None = None) -> Upload:
        try:
            return await asyncio.to_thread(self._store.upload, file, running or self._running.get(file))
        except IncompleteError:
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload") from None
        except UsageError:
            raise RefusedError(409, "BLOB_UPLOAD_INVALID", "another request writes this upload now") from None

    def _size(self, file: str) -> int:
        try:
            return self._store.upload_size(file)
        except IncompleteError:
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload") from None

    def _remember(self, file: str, running: Running) -> None:
        self._running[file] = running
        self._running.move_to_end(file)
        while len(self._running) > _RUNNING:
            self._running.popitem(last=False)

    async def _append(self, request: web.Request, upload: Upload, file: str) -> None:
        """Write one piece while the next one comes. What came is kept, even where the rest does not."""
        writing: asyncio.Future[None] | None = None
        expected = upload.size + request.content_length if request.content_length else 0
        try:
            async for piece in pieces(request):
                if writing is not None:
                    await writing
                if _free(self._store.path) - len(piece) < MIN_FREE:
                    raise RefusedError(507, "SIZE_INVALID", "there is no room for more")
                self.pushes.reach(file, upload.size, expected)
                writing = asyncio.ensure_future(asyncio.to_thread(upload.write, piece))
        finally:
            if writing is not None:
                await writing
            self.pushes.reach(file, upload.size)

    def _finish(self, upload: Upload, repository: str, digest: Digest) -> None:
        try:
            upload.verify(digest)
        except VerificationError as error:
            raise RefusedError(400, "DIGEST_INVALID", error.message) from error
        self._store.protect(digest)
        self._links.remove(repository, [digest], "hidden")
        self._links.add(repository, digest, "blob")
        upload.publish(digest)


def _who(request: web.Request) -> str:
    caller = request.get(CALLER)
    return (caller.name if caller else "") or request.remote or ""


def _free(path: Path) -> int:
    """Bytes that may still be written; an upload without an end must not take the last one."""
    try:
        return shutil.disk_usage(path).free
    except OSError as error:
        raise UnreachableError("io-failed", error.strerror or "disk", where=str(path)) from error


def _file(repository: str, session: str) -> str:
    """The name of an upload's file: a session is one of its repository alone."""
    return f"{hashlib.sha256(repository.encode()).hexdigest()[:16]}-{session}"


def _algorithm(request: web.Request) -> str:
    """What the client says it will give the digest in (distribution-spec 1.1, `digest-algorithm`)."""
    return "sha512" if request.query.get("digest-algorithm") == "sha512" else "sha256"


def _check_range(request: web.Request, target: Target, size: int) -> None:
    """Refuse a chunk that does not begin where the upload ends, or is not as long as it says."""
    header = request.headers.get("Content-Range")
    if header is None:
        return
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        raise RefusedError(400, "BLOB_UPLOAD_INVALID", "Content-Range is not FIRST-LAST")
    first, last = int(match[1]), int(match[2])
    if first != size:
        headers = _headers(target.name, target.session, size)
        raise RefusedError(416, "BLOB_UPLOAD_INVALID", f"the next byte is {size}", headers)
    if last < first or request.content_length not in (None, last - first + 1):
        raise RefusedError(400, "SIZE_INVALID", "Content-Range and the length of the body do not agree")


def _headers(name: str, session: str, size: int) -> dict[str, str]:
    return {
        "Location": f"/v2/{name}/blobs/uploads/{session}",
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": session,
    }


def _progress(status: int, name: str, session: str, size: int) -> web.Response:
    return web.Response(status=status, headers=_headers(name, session, size))


def _accepted(name: str, session: str, size: int) -> web.Response:
    return _progress(202, name, session, size)


def _created(name: str, digest: Digest) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return web.Response(status=201, headers=headers)
