"""Sends content: manifests from memory, blobs by `sendfile`; conditional requests and ranges (RFC 9110).

A digest is the perfect strong ETag. Not here: finding out what to send.
"""

import asyncio
from collections.abc import Mapping
from typing import BinaryIO

from aiohttp import web

from isthmus.oci import Digest, Manifest
from isthmus.serve.answers import RefusedError, error_answer
from isthmus.serve.ranges import Span, UnsatisfiableRangeError, parse_range

_IMMUTABLE = "public, max-age=31536000, immutable"


def manifest_answer(request: web.Request, manifest: Manifest, *, by_tag: bool) -> web.Response:
    """A manifest, exactly as it was served upstream; 304 where the client has it."""
    headers = _headers(manifest.digest, "no-cache" if by_tag else _IMMUTABLE)
    if _is_known(request, manifest.digest):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = manifest.media_type
    return web.Response(body=manifest.raw, headers=headers)


async def send_blob(request: web.Request, descriptor: int, digest: Digest, size: int) -> web.StreamResponse:
    """A blob or a range of it, from an open file that is closed here."""
    with open(descriptor, "rb", buffering=0) as file:
        headers = _headers(digest, _IMMUTABLE)
        if _is_known(request, digest):
            return web.Response(status=304, headers=headers)
        try:
            span = _span(request, digest, size)
        except UnsatisfiableRangeError:
            refusal = RefusedError(
                416, "RANGE_INVALID", "no byte of the blob is in that range", {"Content-Range": f"bytes */{size}"}
            )
            return error_answer(refusal)
        headers |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if span.is_part:
            headers["Content-Range"] = f"bytes {span.offset}-{span.offset + span.count - 1}/{size}"
        return await _send(request, file, span, headers)


def _headers(digest: Digest, caching: str) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"', "Cache-Control": caching}


def _is_known(request: web.Request, digest: Digest) -> bool:
    """Whether If-None-Match names the digest; weak comparison, as it must be."""
    wanted = request.headers.get("If-None-Match")
    if wanted is None:
        return False
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in wanted.split(",")]
    return "*" in tags or digest in tags


def _span(request: web.Request, digest: Digest, size: int) -> Span:
    """The range, which counts only for GET and, with If-Range, only where that names this very digest."""
    header = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    if request.method != "GET" or (condition is not None and condition.strip() != f'"{digest}"'):
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
        # In the kernel over plain TCP; over TLS asyncio reads and writes chunks.
        sent = await asyncio.get_running_loop().sendfile(transport, file, span.offset, span.count)
        if sent != span.count:  # the file was cut off under our hands: the client must not take it for whole
            transport.abort()
            raise ConnectionResetError("the file ended early")
    await response.write_eof()
    return response
