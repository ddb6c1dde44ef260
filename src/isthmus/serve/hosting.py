"""Runs the application: until a signal in the foreground, or in a thread of its own for the demo and tests.

Always on the stock event loop: others do not implement `sendfile`.
"""

import asyncio
import logging
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci.content import CHUNK
from isthmus.serve.app import MAX_HEADER, create_app
from isthmus.serve.file_server import DIRECTORY as FILES
from isthmus.serve.file_server import create_file_app
from isthmus.serve.git_place import git_state
from isthmus.serve.links import holding
from isthmus.serve.listening import listening, tls_context, watch_tls
from isthmus.serve.options import Listen
from isthmus.serve.parts import PARTS
from isthmus.serve.places import Opener, place_of
from isthmus.serve.shared import ALONE, Share
from isthmus.serve.shortcuts import Shortcuts
from isthmus.store import Store

STOP_SECONDS = 30.0
"""How long requests under way may go on after the signal to stop."""

_log = logging.getLogger("isthmus.serve")


def serve_forever(
    store: Path,
    mapping: MirrorMap,
    listen: Listen,
    *,
    ready: Callable[[str, str], None] = lambda _registry, _files: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let requests under way finish.

    `ready` is given `host:port` of the registry and of the file server, or nothing where there is none.

    Raises UsageError `store-not-found`, `invalid-config`, `file-not-found`; UnreachableError `cannot-listen`.
    """
    _allow_many_files()
    with place_of(store, listen) as opener:
        if listen.workers > 1:
            _serve_in_processes(store, opener, mapping, listen, ready)
            return
        with opener() as held, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(_serve(held, mapping, listen, ready, asyncio.Event(), STOP_SECONDS, with_signals=True))


def _serve_in_processes(
    store: Path, opener: Opener, mapping: MirrorMap, listen: Listen, ready: Callable[[str, str], None]
) -> None:
    import msgspec

    from isthmus.serve.workers import Started, Workers

    def work(share: Share, first: Started, alive: int, listens: Callable[[str, str], None]) -> None:
        there = replace(listen, port=_port(first.registry) or listen.port)
        if listen.files is not None and first.files:
            there = replace(there, files=(listen.files[0], _port(first.files)))
        with opener() as held, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            stopping = asyncio.Event()
            serving = _serve(
                held, mapping, there, listens, stopping, STOP_SECONDS, share=share, alive=alive, with_signals=True
            )
            runner.run(serving)

    msgspec.json.encode(Started())  # what workers need is imported before they are forked
    with ExitStack() as stack:
        if listen.writable:
            stack.enter_context(holding(store))
        Workers(listen.workers, work).run(ready)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2] or 0)


class ServerThread:
    """A server in a thread. `address` is `host:port`, `files_address` that of the file server, or empty."""

    def __init__(self, store: Path, mapping: MirrorMap, listen: Listen | None = None) -> None:
        """Start and wait until it listens. Raises as `serve_forever`."""
        self.address = ""
        self.files_address = ""
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
                place_of(self._store, self._listen) as opener,
                opener() as held,
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

    def _ready(self, address: str, files_address: str) -> None:
        self.address, self.files_address = address, files_address
        self._listening.set()


@contextmanager
def serving(store: Path, mapping: MirrorMap, listen: Listen | None = None) -> Iterator[str]:
    """Serve a store directory in a thread for as long as the context lasts; gives `host:port`."""
    thread = ServerThread(store, mapping, listen)
    try:
        yield thread.address
    finally:
        thread.stop()


def _allow_many_files() -> None:
    """As many open files as this user may have: each connection needs one, and each download another."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(
    store: Store,
    mapping: MirrorMap,
    listen: Listen,
    ready: Callable[[str, str], None],
    stopping: asyncio.Event,
    patience: float,
    *,
    share: Share = ALONE,
    alive: int = -1,
    with_signals: bool = False,
) -> None:
    context = tls_context(listen)
    silent: set[object] = set()
    async with AsyncExitStack() as stack:
        if with_signals:
            for name in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(name, stopping.set)
        if alive >= 0:  # which can be read when the parent has ended
            asyncio.get_running_loop().add_reader(alive, stopping.set)
        apps = [(create_app(store, mapping, listen, silent, share), listen.host, listen.port)]
        if listen.files is not None:
            state = stack.enter_context(git_state(store))
            root = listen.files_dir or store.path / FILES
            apps.append((create_file_app(apps[0][0][PARTS], root, state, silent), *listen.files))
        parts = apps[0][0][PARTS]
        shortcuts = [Shortcuts(parts.catalogue, parts.metrics, parts.audit, silent), None]
        servers = [
            (await stack.enter_async_context(_running(app, patience, short)), host, port, short)
            for (app, host, port), short in zip(apps, shortcuts, strict=False)
        ]
        contexts = [context, None if listen.files_plain else context]
        addresses = [
            await stack.enter_async_context(
                listening(server, host, port, tls, silent, short, shared=share.count > 1)
            )
            for (server, host, port, short), tls in zip(servers, contexts, strict=False)
        ]
        watching = asyncio.create_task(watch_tls(listen, context)) if context is not None else None
        ready(addresses[0], addresses[1] if listen.files is not None else "")
        await stopping.wait()
        if watching is not None:
            watching.cancel()


@asynccontextmanager
async def _running(
    app: web.Application, patience: float, shortcuts: Shortcuts | None
) -> AsyncIterator[web.Server]:
    """An application set up; in the end, requests under way have `patience` seconds."""
    told = {"access_log": _log, "access_log_class": shortcuts.logger()} if shortcuts else {"access_log": None}
    runner = web.AppRunner(
        app,
        **told,
        read_bufsize=CHUNK,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        lingering_time=2.0,
        keepalive_timeout=75.0,
        shutdown_timeout=patience,
    )
    await runner.setup()
    assert runner.server is not None
    try:
        yield runner.server
    finally:
        await runner.cleanup()
