"""Runs the application: until a signal in the foreground, or in a thread of its own for the demo and tests.

Always on the stock event loop: others do not implement `sendfile`.
"""

import asyncio
import logging
import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci.content import CHUNK
from isthmus.serve.app import MAX_HEADER, create_app
from isthmus.store import Store

STOP_SECONDS = 30.0
"""How long requests under way may go on after the signal to stop."""

_log = logging.getLogger("isthmus.serve")


@dataclass(frozen=True)
class Listen:
    """Where to listen; port 0 means any free one. With `certificate` and `key` (PEM files) it is TLS.

    With `writable`, pushes are taken.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    writable: bool = False


def serve_forever(
    store: Path,
    mapping: MirrorMap,
    listen: Listen,
    *,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let requests under way finish. `ready` is given `host:port`.

    Raises UsageError `store-not-found`, `invalid-config`, `file-not-found`; UnreachableError `cannot-listen`.
    """
    with _open(store, listen) as held, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_serve(held, mapping, listen, ready, asyncio.Event(), STOP_SECONDS, with_signals=True))


class ServerThread:
    """A server in a thread. `address` is `host:port`."""

    def __init__(self, store: Path, mapping: MirrorMap, listen: Listen | None = None) -> None:
        """Start and wait until it listens. Raises as `serve_forever`."""
        self.address = ""
        self._store = store
        self._mapping = mapping
        self._listen = listen or Listen()
        self._loop = asyncio.SelectorEventLoop()
        self._stopping = asyncio.Event()
        self._listening = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="isthmus-serve", daemon=True)
        self._thread.start()
        self._listening.wait()
        for failure in self._failures:
            self._thread.join()
            raise failure

    def stop(self) -> None:
        """End it; what is under way is cut off. More than once does no harm."""
        with suppress(RuntimeError):  # the loop is closed: it ended already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with (
                _open(self._store, self._listen) as held,
                asyncio.Runner(loop_factory=lambda: self._loop) as runner,
            ):
                runner.run(_serve(held, self._mapping, self._listen, self._ready, self._stopping, 0.1))
        except BaseException as error:  # noqa: BLE001 -- handed to the thread that started this one
            self._failures.append(error)
            if self._listening.is_set():
                _log.exception("the server ended")
        finally:
            self._loop.close()
            self._listening.set()

    def _ready(self, address: str) -> None:
        self.address = address
        self._listening.set()


@contextmanager
def serving(store: Path, mapping: MirrorMap, listen: Listen | None = None) -> Iterator[str]:
    """Serve a store directory in a thread for as long as the context lasts; gives `host:port`."""
    thread = ServerThread(store, mapping, listen)
    try:
        yield thread.address
    finally:
        thread.stop()


def _open(store: Path, listen: Listen) -> Store:
    if listen.writable:
        return Store.create(store, durable=True)  # whoever was answered must find it again
    return Store.open(store)


async def _serve(
    store: Store,
    mapping: MirrorMap,
    listen: Listen,
    ready: Callable[[str], None],
    stopping: asyncio.Event,
    patience: float,
    *,
    with_signals: bool = False,
) -> None:
    context = _tls(listen)
    runner = web.AppRunner(
        create_app(store, mapping, writable=listen.writable),
        access_log=None,
        read_bufsize=CHUNK,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        lingering_time=2.0,
        keepalive_timeout=75.0,
        shutdown_timeout=patience,
    )
    await runner.setup()
    try:
        if with_signals:
            for name in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(name, stopping.set)
        await _listen_on(runner, listen, context)
        host, port = runner.addresses[0][:2]
        ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await stopping.wait()
    finally:
        await runner.cleanup()


async def _listen_on(runner: web.AppRunner, listen: Listen, context: ssl.SSLContext | None) -> None:
    try:
        await web.TCPSite(runner, listen.host, listen.port, ssl_context=context, backlog=1024).start()
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise UnreachableError(
            "cannot-listen", f"listening failed: {reason}", where=f"{listen.host}:{listen.port}"
        ) from error


def _tls(listen: Listen) -> ssl.SSLContext | None:
    if listen.certificate is None and listen.key is None:
        return None
    if listen.certificate is None or listen.key is None:
        raise UsageError("wrong-usage", "a certificate and its key go together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password function, OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(listen.certificate, listen.key, password=_no_password)
    except FileNotFoundError as error:
        raise UsageError(
            "file-not-found", "there is no such file", where=f"{listen.certificate}, {listen.key}"
        ) from error
    except (ssl.SSLError, OSError, ValueError) as error:
        raise UsageError(
            "invalid-config",
            f"not a certificate and its key: {error}",
            where=f"{listen.certificate}, {listen.key}",
        ) from error
    return context


def _no_password() -> str:
    raise UsageError("invalid-key", "the TLS key is encrypted", hint="give one without a password")
