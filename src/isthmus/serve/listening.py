"""The listening socket: TLS that is read again when its files change, and limits for connections.

A connection that asks for nothing in time is closed (slow-loris), one that takes nothing for long too, and
beyond a number of them new ones are turned away at once. Not here: requests.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, MutableSet
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from isthmus.errors import IsthmusError, UnreachableError, UsageError
from isthmus.serve.app import WATCH_SECONDS
from isthmus.serve.options import Listen
from isthmus.serve.shortcuts import Shortcuts

HEADER_SECONDS = 20.0
"""For a connection's first request to be there with all its headers."""

STALLED_SECONDS = 120
"""After which a client that acknowledges nothing is given up."""

MAX_CONNECTIONS = 4096

_log = logging.getLogger("isthmus.serve")


@asynccontextmanager
async def listening(
    server: web.Server,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    silent: MutableSet[Any],
    shortcuts: Shortcuts | None = None,
    *,
    shared: bool = False,
) -> AsyncIterator[str]:
    """Listen for as long as the context lasts; gives `host:port`. Raises UnreachableError `cannot-listen`.

    With `shared`, other processes of this user may listen at the same address, and the kernel divides.
    """
    loop = asyncio.get_running_loop()

    accepted: list[None] = []  # in this turn of the loop, and not yet among the server's connections

    def connection() -> asyncio.BaseProtocol:
        if len(server.connections) + len(accepted) >= MAX_CONNECTIONS:
            return _TurnedAway()
        accepted.append(None)
        loop.call_soon(lambda: loop.call_soon(accepted.pop))
        handler = server()
        silent.add(handler)
        loop.call_later(HEADER_SECONDS, _close_silent, handler, silent)
        return shortcuts.front(handler) if shortcuts is not None else handler

    try:
        opened = await loop.create_server(
            connection,
            host,
            port,
            ssl=context,
            backlog=1024,
            reuse_port=shared or None,
            ssl_handshake_timeout=HEADER_SECONDS if context is not None else None,
        )
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise UnreachableError("cannot-listen", f"listening failed: {reason}", where=f"{host}:{port}") from error
    for listener in opened.sockets:
        with suppress(OSError):  # not on every kernel; connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000)
    try:
        host, port = opened.sockets[0].getsockname()[:2]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        opened.close()


def _close_silent(handler: web.RequestHandler, silent: MutableSet[Any]) -> None:
    if handler in silent:
        silent.discard(handler)
        handler.force_close()


class _TurnedAway(asyncio.Protocol):
    """Closes what is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def tls_context(listen: Listen) -> ssl.SSLContext | None:
    """For the certificate and key, or None for plain HTTP. Raises UsageError."""
    if listen.certificate is None and listen.key is None:
        return None
    if listen.certificate is None or listen.key is None:
        raise UsageError("wrong-usage", "a certificate and its key go together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, listen)
    return context


def _load(context: ssl.SSLContext, listen: Listen) -> None:
    assert listen.certificate is not None
    where = f"{listen.certificate}, {listen.key}"
    try:
        # Without a password function, OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(listen.certificate, listen.key, password=_no_password)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such file", where=where) from error
    except (ssl.SSLError, OSError, ValueError) as error:
        raise UsageError("invalid-config", f"not a certificate and its key: {error}", where=where) from error


def _no_password() -> str:
    raise UsageError("invalid-key", "the TLS key is encrypted", hint="give one without a password")


async def watch_tls(listen: Listen, context: ssl.SSLContext) -> None:
    """Load the files again when they change; new connections then get the new certificate."""
    mark = _mark(listen)
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        now = _mark(listen)
        if now == mark:
            continue
        try:
            tls_context(listen)  # apart first: half a change must not spoil what is in use
            _load(context, listen)
        except IsthmusError as error:
            _log.error("%s; the certificate that was there before stays", error)
            continue  # and it is tried again: the other file may still be on its way
        mark = now
        _log.warning("the TLS certificate was loaded again")


def _mark(listen: Listen) -> tuple[tuple[int, int], ...]:
    found = []
    for path in (listen.certificate, listen.key):
        with suppress(OSError):
            status = os.stat(path or "")
            found.append((status.st_ino, status.st_mtime_ns))
    return tuple(found)
