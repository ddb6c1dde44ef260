"""Git's smart HTTP protocol, read-only: one `git upload-pack --stateless-rpc` a request, within limits.

For repositories that `git_place` lays out. Without git at the site, clients use the same URLs as static files
(the dumb protocol), which needs nothing of this. Pushes are refused. See git's gitprotocol-http(5).
"""

import asyncio
import os
import re
import shutil
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from isthmus.content import Thing
from isthmus.serve.answers import RefusedError
from isthmus.serve.git_place import place
from isthmus.store import Store

MAX_REQUEST = 64 * 1024 * 1024
"""Bytes that a client may send of what it wants and has."""

MAX_PROCESSES = max(4, 2 * (os.cpu_count() or 1))
MAX_WAITING = 64
SILENT_SECONDS = 120.0
"""For git to say the next thing, and for the client to take it."""

TOTAL_SECONDS = 3600.0
_CHUNK = 256 * 1024
_SERVICE = "git-upload-pack"
_VERSION = re.compile(r"version=[0-2]", re.ASCII)
_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Expires": "Fri, 01 Jan 1980 00:00:00 GMT"}


class GitHttp:
    """Answers the two requests of a fetch. `root` is where repositories are laid out."""

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = root
        self._program = shutil.which("git")
        self._slots = asyncio.Semaphore(MAX_PROCESSES)
        self._waiting = 0

    @property
    def works(self) -> bool:
        """Whether there is a git."""
        return self._program is not None

    async def answer(self, request: web.Request, thing: Thing, rest: str) -> web.StreamResponse | None:
        """The answer of the smart protocol, or None where the request is for a file."""
        service = request.query.get("service", "")
        if service == "git-receive-pack" or rest == "git-receive-pack":
            raise RefusedError(403, "DENIED", "this repository is read-only")
        if rest == "info/refs" and service == _SERVICE and request.method == "GET" and self.works:
            return await self._run(request, thing, advertise=True)
        if rest == _SERVICE and request.method == "POST":
            if not self.works:
                raise RefusedError(404, "UNSUPPORTED", "there is no git program here; fetch by the dumb protocol")
            if request.content_type != f"application/x-{_SERVICE}-request":
                raise RefusedError(415, "UNSUPPORTED", "not a request of git")
            return await self._run(request, thing, advertise=False)
        return None

    async def _run(self, request: web.Request, thing: Thing, *, advertise: bool) -> web.StreamResponse:
        if self._waiting >= MAX_WAITING:
            raise RefusedError(503, "TOOMANYREQUESTS", "too many fetches at once", {"Retry-After": "5"})
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                directory = await asyncio.to_thread(place, self._store, thing, self._root)
                async with self._child(request, directory, advertise=advertise) as child:
                    return await _exchange(request, child, advertise=advertise)
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _child(
        self, request: web.Request, directory: Path, *, advertise: bool
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        assert self._program is not None
        settings = ["safe.directory=*", "uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true",
                    "pack.threads=1", "core.hooksPath=/dev/null"]  # fmt: skip
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_LAZY_FETCH": "1",
        }
        version = request.headers.get("Git-Protocol", "")
        if _VERSION.fullmatch(version):
            environment["GIT_PROTOCOL"] = version
        command = [self._program, *(part for setting in settings for part in ("-c", setting)), "upload-pack"]
        command += ["--stateless-rpc", "--strict", *(["--advertise-refs"] if advertise else []), str(directory)]
        child = await asyncio.create_subprocess_exec(
            *command, env=environment, limit=_CHUNK,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield child
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
            with suppress(Exception):
                await child.wait()


async def _exchange(
    request: web.Request, child: asyncio.subprocess.Process, *, advertise: bool
) -> web.StreamResponse:
    assert child.stdout is not None
    feeding = asyncio.create_task(_feed(request, child.stdin, advertise=advertise))
    kind = "advertisement" if advertise else "result"
    response = web.StreamResponse(headers={"Content-Type": f"application/x-{_SERVICE}-{kind}", **_NO_CACHE})
    try:
        first = await asyncio.wait_for(child.stdout.read(_CHUNK), SILENT_SECONDS)
        if not first:
            await feeding  # what was wrong with the request
            raise RefusedError(400, "UNSUPPORTED", "git refused the request")
        await response.prepare(request)
        if advertise and request.headers.get("Git-Protocol") != "version=2":
            await response.write(b"001e# service=git-upload-pack\n0000")
        while first:
            await asyncio.wait_for(response.write(first), SILENT_SECONDS)
            first = await asyncio.wait_for(child.stdout.read(_CHUNK), SILENT_SECONDS)
        await child.wait()
        if child.returncode and request.transport is not None:
            request.transport.abort()  # what was sent is not whole
        await response.write_eof()
        return response
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("git or its client was silent for too long") from None
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await feeding


async def _feed(request: web.Request, stdin: asyncio.StreamWriter | None, *, advertise: bool) -> None:
    """Hand over the request, which git ends by itself where it is long."""
    assert stdin is not None
    try:
        if not advertise:
            total = 0
            while piece := await asyncio.wait_for(request.content.readany(), SILENT_SECONDS):
                total += len(piece)
                if total > MAX_REQUEST:
                    raise RefusedError(413, "SIZE_INVALID", f"more than {MAX_REQUEST} bytes of wants and haves")
                stdin.write(piece)
                await stdin.drain()
    except (ConnectionError, TimeoutError, zlib.error):
        return
    finally:
        stdin.close()
