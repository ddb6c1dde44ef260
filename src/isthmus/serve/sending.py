"""Sends content: manifests from memory, blobs by `sendfile`; conditional requests and ranges (RFC 9110).

A digest is the perfect strong ETag. Not here: finding out what to send.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping

from aiohttp import web

from isthmus.oci import Digest, Manifest
from isthmus.oci.content import CHUNK, BlobReader, new_buffer
from isthmus.serve.answers import RefusedError, error_answer
from isthmus.serve.opened import Opened, Piece
from isthmus.serve.ranges import Span, UnsatisfiableRangeError, parse_range
from isthmus.serve.turns import read_cached, turns

TLS_CHUNK = 512 * 1024
"""Bytes read and encrypted at a time: half of it costs a tenth more CPU time, twice as much needs more memory."""

_IMMUTABLE = "public, max-age=31536000, immutable"


def manifest_answer(request: web.Request, manifest: Manifest, *, by_tag: bool) -> web.Response:
    """A manifest, exactly as it was served upstream; 304 where the client has it."""
    headers = _headers(manifest.digest, "no-cache" if by_tag else _IMMUTABLE)
    if _is_known(request, headers["ETag"]):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = manifest.media_type
    return web.Response(body=manifest.raw, headers=headers)


async def send_blob(request: web.Request, opened: Opened, digest: Digest) -> web.StreamResponse:
    """A blob or a range of it, which is closed here; or where else it can be fetched."""
    headers = _headers(digest, _IMMUTABLE) | {"Content-Type": "application/octet-stream"}
    if opened.link and request.method == "GET":
        headers |= {"Location": opened.link, "Cache-Control": "no-store"}
        return web.Response(status=307, headers=headers)
    return await send_open(request, opened, headers)


async def send_open(request: web.Request, opened: Opened, headers: dict[str, str]) -> web.StreamResponse:
    """Content or a range of it, with conditions by its `ETag` and `Last-Modified`; it is closed here."""
    with opened:
        size = opened.size
        if _is_known(request, headers["ETag"], headers.get("Last-Modified", "")):
            without_body = {name: value for name, value in headers.items() if name != "Content-Type"}
            return web.Response(status=304, headers=without_body)
        try:
            span = _span(request, headers, size)
        except UnsatisfiableRangeError:
            refusal = RefusedError(
                416, "RANGE_INVALID", "no byte of the blob is in that range", {"Content-Range": f"bytes */{size}"}
            )
            return error_answer(refusal)
        headers = headers | {"Accept-Ranges": "bytes"}
        if span.is_part:
            headers["Content-Range"] = f"bytes {span.offset}-{span.offset + span.count - 1}/{size}"
        return await _send(request, opened, span, headers)


def _headers(digest: Digest, caching: str) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"', "Cache-Control": caching}


def _is_known(request: web.Request, tag: str, changed: str = "") -> bool:
    """Whether If-None-Match names the quoted tag, weakly compared as it must be; or else that very time is known.

    A time is compared for equality alone: content may go back to what it was before.
    """
    wanted = request.headers.get("If-None-Match")
    if wanted is None:
        return bool(changed) and request.headers.get("If-Modified-Since", "").strip() == changed
    tags = [one.strip().removeprefix("W/").strip('"') for one in wanted.split(",")]
    return "*" in tags or tag.strip('"') in tags


def _span(request: web.Request, headers: Mapping[str, str], size: int) -> Span:
    """The range, which counts only for GET and, with If-Range, only where that names this very content."""
    header = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    same = (headers["ETag"], headers.get("Last-Modified", headers["ETag"]))
    if request.method != "GET" or (condition is not None and condition.strip() not in same):
        header = None
    return parse_range(header, size)


async def _send(
    request: web.Request, opened: Opened, span: Span, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=206 if span.is_part else 200, headers=headers)
    response.content_length = span.count
    await response.prepare(request)
    if request.method != "HEAD" and span.count:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        if opened.reader is not None:
            sent = await _send_read(response, opened.reader, span)
        elif transport.get_extra_info("sslcontext") is None:
            sent = await _send_file(transport, opened.between(span.offset, span.count))
        else:
            sent = await _send_chunks(request, transport, opened.between(span.offset, span.count))
        if sent != span.count:  # the file was cut off under our hands: the client must not take it for whole
            transport.abort()
            raise ConnectionResetError("the file ended early")
    await response.write_eof()
    return response


async def _send_file(transport: asyncio.WriteTransport, pieces: list[Piece]) -> int:
    """In the kernel; how many bytes were sent."""
    loop = asyncio.get_running_loop()
    sent = 0
    for piece in pieces:
        count = await loop.sendfile(transport, piece.file, piece.offset, piece.count)
        sent += count
        if count != piece.count:
            break
    return sent


async def _send_chunks(request: web.Request, transport: asyncio.WriteTransport, pieces: list[Piece]) -> int:
    """For TLS: read and encrypted in pieces, a few in each turn of the event loop; how many bytes were sent.

    asyncio's own way reads 16 KiB at a time, waits for a thread each time, and needs six times the CPU time.
    """
    sent, mine = 0, turns()
    for piece in pieces:
        descriptor, at = piece.file.fileno(), 0
        while at < piece.count:
            count = min(TLS_CHUNK, piece.count - at)
            await mine.wait()
            if not _write_cached(transport, descriptor, count, piece.offset + at):
                # Not in memory, or not there: a thread waits for the disk.
                chunk = await _read(descriptor, count, piece.offset + at)
                transport.write(chunk)
                count, wanted = len(chunk), count
                if count != wanted:
                    return sent + count
            at += count
            sent += count
            await request.writer.drain()
            if transport.is_closing():
                raise ConnectionResetError("the client went away")
    return sent


_rooms = threading.local()


def _write_cached(transport: asyncio.WriteTransport, descriptor: int, count: int, offset: int) -> bool:
    """Encrypt what the system has in its cache; False where that is not all of it.

    All downloads of a thread share one room, which stays in the processor's cache: asyncio encrypts at once
    what it is given. Were it ever to keep some for later, that would become another download's bytes: the
    connection is ended. Where it cannot be seen whether it does, the room is not used.
    """
    kept = getattr(getattr(transport, "_ssl_protocol", None), "_write_backlog", None)
    if kept is None:
        return False
    room: memoryview | None = getattr(_rooms, "room", None)
    if room is None:
        room = _rooms.room = new_buffer(TLS_CHUNK)
    with room[:count] as view:
        if not read_cached(descriptor, view, offset):
            return False
        transport.write(view)
        if kept:
            kept.clear()
            transport.abort()
            raise ConnectionResetError("not all was encrypted at once")
    return True


async def _read(descriptor: int, count: int, offset: int) -> bytes:
    reading = asyncio.get_running_loop().run_in_executor(None, os.pread, descriptor, count, offset)
    try:
        return await asyncio.shield(reading)
    except BaseException:
        await asyncio.wait([reading])  # the file is closed next, and its number may be another's then
        raise


async def _send_read(response: web.StreamResponse, read: Callable[[int], BlobReader], span: Span) -> int:
    """From a reader, which is asked in threads; how many bytes were sent."""
    sent = 0
    with await asyncio.to_thread(read, span.offset) as reader:
        while sent < span.count:
            buffer = bytearray(min(CHUNK, span.count - sent))
            count = await asyncio.to_thread(reader.readinto, memoryview(buffer))
            if not count:
                break
            await response.write(memoryview(buffer)[:count])
            sent += count
    return sent
