"""Reads what clients send: in pieces, within limits of size and time. Not here: what becomes of it."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from isthmus.oci.content import CHUNK
from isthmus.serve.answers import RefusedError

CHUNK_SECONDS = 120.0
"""Time for each mebibyte of a body; who is slower than that may go on later where it stopped."""


async def read_small(request: web.Request, limit: int) -> bytes:
    """A body whole. Raises RefusedError (413) over the limit of bytes."""
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    data = bytearray()
    async for piece in pieces(request):
        data += piece
        if len(data) > limit:
            raise _too_large(limit)
    return bytes(data)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """A body in pieces of about a mebibyte. What came before it broke off is given, then RefusedError raised."""
    content = request.content
    at_end = False
    while not at_end:
        parts: list[bytes] = []
        count = 0
        failure: RefusedError | None = None
        try:
            async with asyncio.timeout(CHUNK_SECONDS):
                while count < CHUNK:
                    part = await content.readany()
                    if not part:
                        at_end = True
                        break
                    parts.append(part)
                    count += len(part)
        except TimeoutError:
            failure = RefusedError(408, "BLOB_UPLOAD_INVALID", "the body came too slowly")
        except (ConnectionError, web.RequestPayloadError) as error:
            failure = RefusedError(400, "BLOB_UPLOAD_INVALID", f"the body ended early ({type(error).__name__})")
        if parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        if failure is not None:
            raise failure


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, "SIZE_INVALID", f"the body is larger than {limit} bytes")
