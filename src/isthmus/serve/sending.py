"""Sends content: manifests from memory, blobs by `sendfile`; conditional requests and ranges (RFC 9110).

A digest is the perfect strong ETag. Not here: finding out what to send.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import BinaryIO

from aiohttp import web

from isthmus.oci import Digest, Manifest
from isthmus.serve.answers import RefusedError, error_answer
from isthmus.serve.ranges import Span, UnsatisfiableRangeError, parse_range

TLS_CHUNK = 256 * 1024
"""Bytes that are read and encrypted at a time; a mebibyte would save a tenth of the CPU time."""

_IMMUTABLE = "public, max-age=31536000, immutable"


def manifest_answer(request: web.Request, manifest: Manifest, *, by_tag: bool) -> web.Response:
    """A manifest, exactly as it was served upstream; 304 where the client has it."""
    headers = _headers(manifest.digest, "no-cache" if by_tag else _IMMUTABLE)
    if _is_known(request, headers["ETag"]):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = manifest.media_type
    return web.Response(body=manifest.raw, headers=headers)


async def send_blob(request: web.Request, descriptor: int, digest: Digest, size: int) -> web.StreamResponse:
    """A blob or a range of it, from an open file that is closed here."""
    headers = _headers(digest, _IMMUTABLE) | {"Content-Type": "application/octet-stream"}
    return await send_open(request, descriptor, size, headers)


async def send_open(
    request: web.Request, descriptor: int, size: int, headers: dict[str, str]
) -> web.StreamResponse:
    """A file or a range of it, with conditions by its `ETag`, from an open file that is closed here."""
    with open(descriptor, "rb", buffering=0) as file:
        if _is_known(request, headers["ETag"]):
            without_body = {name: value for name, value in headers.items() if name != "Content-Type"}
            return web.Response(status=304, headers=without_body)
        try:
            span = _span(request, headers["ETag"], size)
        except UnsatisfiableRangeError:
            refusal = RefusedError(
                416, "RANGE_INVALID", "no byte of the blob is in that range", {"Content-Range": f"bytes */{size}"}
            )
            return error_answer(refusal)
        headers = headers | {"Accept-Ranges": "bytes"}
        if span.is_part:
            headers["Content-Range"] = f"bytes {span.offset}-{span.offset + span.count - 1}/{size}"
        return await _send(request, file, span, headers)


def _headers(digest: Digest, caching: str) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"', "Cache-Control": caching}


def _is_known(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match names the quoted tag; weak comparison, as it must be."""
    wanted = request.headers.get("If-None-Match")
    if wanted is None:
        return False
    tags = [one.strip().removeprefix("W/").strip('"') for one in wanted.split(",")]
    return "*" in tags or tag.strip('"') in tags


def _span(request: web.Request, tag: str, size: int) -> Span:
    """The range, which counts only for GET and, with If-Range, only where that names this very content."""
    header = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    if request.method != "GET" or (condition is not None and condition.strip() != tag):
        header = None
    return parse_range(header, size)


async def _send(
    request: web.Request, file: BinaryIO, span: Span, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=206 if span.is_part else 200, headers=headers)
    response.content_length = span.count
    await response.prepare(request)
    if request.method != "HEAD" and span.count:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        if transport.get_extra_info("sslcontext") is None:
            # In the kernel.
            sent = await asyncio.get_running_loop().sendfile(transport, file, span.offset, span.count)
        else:
            sent = await _send_chunks(response, file, span)
        if sent != span.count:  # the file was cut off under our hands: the client must not take it for whole
            transport.abort()
            raise ConnectionResetError("the file ended early")
    await response.write_eof()
    return response


async def _send_chunks(response: web.StreamResponse, file: BinaryIO, span: Span) -> int:
    """For TLS: the next chunk is read in a thread while this one is encrypted; how many bytes were sent.

    asyncio's own way reads 16 KiB at a time, waits for a thread each time, and needs six times the CPU time.
    """
    sent = 0
    reading = _read(file, span.offset, min(TLS_CHUNK, span.count))
    while sent < span.count:
        chunk = await reading
        if not chunk:
            break
        sent += len(chunk)
        if sent < span.count:
            reading = _read(file, span.offset + sent, min(TLS_CHUNK, span.count - sent))
        try:
            await response.write(chunk)
        except BaseException:
            if sent < span.count:
                await asyncio.wait([reading])  # the file is closed next, and its number may be another's then
            raise
    return sent


def _read(file: BinaryIO, offset: int, count: int) -> asyncio.Future[bytes]:
    return asyncio.get_running_loop().run_in_executor(None, os.pread, file.fileno(), count, offset)
