"""Programs of others, run to their end or started and stopped for sure. Not here: which ones.

What is started dies with us, however that happens: setpriv asks the kernel to kill it when its parent goes (to be
exact, when the thread that started it ends, so that servers are started from the main thread).
"""

import contextlib
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from isthmus.errors import UnreachableError, UsageError

T = TypeVar("T")
Word = str | Path

_PACKAGES = {"ctr": "containerd", "ip": "iproute2", "nsenter": "util-linux", "setpriv": "util-linux"}
_SAID = 2000


def require(*names: str) -> None:
    """Raise UsageError `missing-program` with the packages to install, unless all programs are there."""
    missing = sorted({_PACKAGES.get(name, name) for name in names if shutil.which(name) is None})
    if missing:
        raise UsageError(
            "missing-program",
            f"a rehearsal needs {', '.join(missing)}, which is not installed here",
            hint=f"on Debian and Ubuntu: apt-get install {' '.join(missing)}",
        )


def output(*command: Word, timeout: float = 120, given: bytes | None = None) -> str:
    """Run a program and return what it printed; raises UnreachableError `program-failed` with its complaint."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, input=given, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(
            "program-failed", f"{words[0]} did not end within {timeout:.0f} s", where=" ".join(words)[:_SAID]
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise UnreachableError("program-failed", said[-_SAID:], where=" ".join(words)[:_SAID])
    return done.stdout.decode(errors="replace")


class Program:
    """A server, with its log in a file."""

    def __init__(
        self, command: Sequence[Word], log: Path, wrapper: Sequence[str] = (), *, stdout: int | None = None
    ) -> None:
        """Start it; `stdout` may be subprocess.PIPE for one whose output is wanted."""
        self.log = log
        self.name = str(command[0])
        words = [*wrapper, "setpriv", "--pdeathsig", "KILL", *map(str, command)]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=stdout or stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is for us, who then end it in order
            )

    def wait_until(self, ready: Callable[[], T | None], seconds: float = 30) -> T:
        """Poll until ready() gives something; raises UnreachableError `program-failed` with the log's end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            result = ready()
            if result is not None:
                return result
            time.sleep(0.02)
        status = self.process.poll()
        self.stop()
        what = f"was not ready in {seconds:.0f} s" if status is None else f"ended with {status}"
        raise UnreachableError("program-failed", f"{self.name} {what}: {self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-_SAID:]

    def stop(self, seconds: float = 5) -> None:
        """End it: asked first, killed when it does not listen."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what is inside by KeyboardInterrupt once; while it is cleaned up they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
