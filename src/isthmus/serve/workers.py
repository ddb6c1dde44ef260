"""Several processes that serve one address (SO_REUSEPORT), and the one that starts them and waits.

A worker that dies is started again; when the parent dies, workers stop. Not here: what a worker does.
"""

import logging
import os
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from isthmus.errors import CODES, IsthmusError, UnreachableError, UsageError, VerificationError
from isthmus.serve.shared import Share, derived_key

START_SECONDS = 300.0
_AGAIN_SECONDS = 1.0
_log = logging.getLogger("isthmus.serve")


class Started(msgspec.Struct):
    """What a worker says when it listens, or why it does not."""

    registry: str = ""
    files: str = ""
    code: str = ""
    message: str = ""
    where: str = ""
    hint: str = ""
    status: int = 1


Work = Callable[[Share, Started, int, Callable[[str, str], None]], None]
"""Given the share, the addresses where others listen already, a descriptor that ends with the parent, and what
to call when it listens, serves until it is stopped."""


class Workers:
    """The parent. `run` returns after SIGTERM or SIGINT, when all workers have ended."""

    def __init__(self, count: int, work: Work) -> None:
        self._count = count
        self._work = work
        self._children: dict[int, int] = {}
        self._stopping = False
        self._parent = os.getpid()
        self._started = Started()
        self._alive, self._kept = os.pipe()

    def run(self, ready: Callable[[str, str], None]) -> None:
        """Start them all and wait. Raises what the first one could not do."""
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        with tempfile.TemporaryDirectory(prefix="isthmus-serve-") as name:
            try:
                self._directory = Path(name)
                self._started = self._start(0)
                for number in range(1, self._count):
                    self._start(number)
                ready(self._started.registry, self._started.files)
                while self._children:
                    self._wait()
            finally:
                self._stop(signal.SIGTERM, None)
                while self._children:
                    self._wait()
                os.close(self._kept)
                os.close(self._alive)
                for one, handler in before.items():
                    signal.signal(one, handler)

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True
        for child in tuple(self._children):
            try:
                os.kill(child, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def _wait(self) -> None:
        try:
            child, status = os.waitpid(-1, 0)
        except ChildProcessError:
            self._children.clear()
            return
        number = self._children.pop(child, None)
        if number is None or self._stopping:
            return
        _log.error("worker %d ended (%d) and is started again", number, os.waitstatus_to_exitcode(status))
        time.sleep(_AGAIN_SECONDS)
        if not self._stopping:
            try:
                self._start(number)
            except IsthmusError as error:
                _log.error("worker %d: %s", number, error)
                if not self._children:
                    self._stop(signal.SIGTERM, None)

    def _start(self, number: int) -> Started:
        said, saying = os.pipe()
        child = os.fork()
        if not child:
            os.close(said)
            os.close(self._kept)
            os._exit(self._be(number, saying))
        self._children[child] = number
        os.close(saying)
        try:
            found = _hear(said)
        finally:
            os.close(said)
        if found.code:
            raise _error(found)
        if self._stopping:
            self._stop(signal.SIGTERM, None)
        return found

    def _be(self, number: int, saying: int) -> int:
        """In the child."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)

        def ready(registry: str, files: str) -> None:
            os.write(saying, msgspec.json.encode(Started(registry, files)) + b"\n")

        try:
            self._work(
                Share(number, self._count, self._directory, derived_key("tokens")),
                self._started,
                self._alive,
                ready,
            )
        except IsthmusError as error:
            document = Started("", "", error.code, error.message, error.where, error.hint, error.status)
            os.write(saying, msgspec.json.encode(document) + b"\n")
            _log.error("%s", error)
            return 1
        except BaseException:  # noqa: BLE001 -- nothing may come out of a forked process
            traceback.print_exc()
            return 1
        if os.getppid() != self._parent:  # it was killed, and cannot tidy any more
            shutil.rmtree(self._directory, ignore_errors=True)
        return 0


def _hear(said: int) -> Started:
    data, until = b"", time.monotonic() + START_SECONDS
    while not data.endswith(b"\n"):
        if not select.select([said], [], [], max(0.0, until - time.monotonic()))[0]:
            break
        piece = os.read(said, 65536)
        if not piece:
            break
        data += piece
    if not data.endswith(b"\n"):
        return Started(code="cannot-listen", message="a worker did not start")
    return msgspec.json.decode(data, type=Started)


def _error(found: Started) -> IsthmusError:
    kinds: list[type[IsthmusError]] = [UsageError, VerificationError, UnreachableError]
    kind = next((one for one in kinds if one.status == found.status), UnreachableError)
    code = found.code if found.code in CODES else "cannot-listen"
    return kind(code, found.message, where=found.where, hint=found.hint)
