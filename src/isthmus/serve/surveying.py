"""Has a store looked at by a process of its own (`survey`), one at a time for all workers of a server.

Blocks, so it is for threads. What one worker had found the others read, where it is what they want.
"""

import fcntl
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from isthmus.oci import Digest
from isthmus.serve.disk import Counted
from isthmus.serve.facts import Facts
from isthmus.serve.shared import ALONE, Share
from isthmus.serve.survey import Frame, What, read_frames

_AGAIN = 0.05  # seconds between looks whether another worker has finished
_BREATH = 0.001  # seconds for others after each frame
_log = logging.getLogger("isthmus.serve")
_Found = Callable[[dict[Digest, Facts]], None]


class Surveys:
    """Those of one store. Raises nothing: what cannot be had is not there, and nothing is after `stop`."""

    def __init__(self, store: Path, share: Share = ALONE) -> None:
        self._store = os.path.abspath(store)
        self._shared = share.directory
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def stop(self) -> None:
        """End what goes on."""
        with self._guard:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def facts(self, wanted: Callable[[], Sequence[Digest]], found: _Found) -> None:
        """Give `found` what manifests say, in portions.

        `wanted` is asked when its turn has come: somebody may have found everything by then.
        """
        with self._my_turn():
            if self._shared is not None:
                _hand(self._shared / "facts", found)
            missing = wanted()
            if missing:
                for frame in self._frames("facts", "\n".join(missing)):
                    found({Digest(digest): facts for digest, facts in frame.facts.items()})
                    time.sleep(_BREATH)

    def counted(self, since: float) -> Counted | None:
        """What is on disk, as it was after `since` (as in `time`)."""
        with self._my_turn():
            known = _counted(self._shared / "count") if self._shared is not None else None
            if known is not None and known.at > since:
                return known
            return next((frame.counted for frame in self._frames("count", "")), None)

    def _frames(self, what: What, text: str) -> Iterator[Frame]:
        try:
            with self._file(what) as file:
                if not self._run(what, text, file):
                    return
                if self._shared is not None:
                    self._new(what).replace(self._shared / what)
                file.seek(0)
                yield from read_frames(file)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            _log.warning("the store cannot be looked at by another process: %s", error)

    def _file(self, what: What) -> IO[bytes]:
        return self._new(what).open("w+b") if self._shared is not None else tempfile.TemporaryFile()

    def _new(self, what: What) -> Path:
        assert self._shared is not None
        return self._shared / f"{what}.new"

    def _run(self, what: What, text: str, file: IO[bytes]) -> bool:
        command = [sys.executable, "-P", "-m", "isthmus.serve.survey", self._store, what]
        with self._guard:
            if self._is_over:
                return False
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.DEVNULL, process_group=0
            )
        process.communicate(text.encode())
        with self._guard:
            self._process = None
            if process.returncode and not self._is_over:
                _log.warning("looking at the store by another process failed (%d)", process.returncode)
        return process.returncode == 0

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._turn:
            if self._shared is None:
                yield
                return
            try:
                lock = os.open(self._shared / "survey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                yield  # the server is about to end
                return
            try:
                while not self._is_over:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except OSError:
                        time.sleep(_AGAIN)
                yield
            finally:
                os.close(lock)


def _hand(path: Path, found: _Found) -> None:
    try:
        with path.open("rb") as file:
            for frame in read_frames(file):
                found({Digest(digest): facts for digest, facts in frame.facts.items()})
                time.sleep(_BREATH)
    except (OSError, ValueError, msgspec.MsgspecError):
        return  # there is none yet


def _counted(path: Path) -> Counted | None:
    try:
        with path.open("rb") as file:
            return next((frame.counted for frame in read_frames(file)), None)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
