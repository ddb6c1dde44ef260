"""One authenticated connection of the system's `ssh`, over which programs run on the far side (ControlMaster).

The connection ends with this process, however that ends: `ssh` follows a pipe that only this process holds.
Not here: what runs over it (`shell`, `sftp`).
"""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from isthmus.carry.ssh.address import Address
from isthmus.carry.ssh.failures import failure
from isthmus.errors import IsthmusError, UnreachableError, UsageError

CONNECT_SECONDS: Final = 15
ALIVE_SECONDS: Final = 5
ALIVE_COUNT: Final = 3
_LOGIN_SECONDS: Final = 120.0
_PREFIX: Final = "isthmus-ssh-"
_HELD: Final = "held"
_MAX_COMPLAINT: Final = 64 * 1024
_PLAIN: Final = ("-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes")
"""Whatever the user's configuration does at a login is not for us."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect: `identity` a key file, `jump` a -J of ssh, `options` as for -o, `config` a -F."""

    identity: str = ""
    jump: str = ""
    options: tuple[str, ...] = ()
    config: str = ""

    @property
    def words(self) -> list[str]:
        """Words of ssh's command line. The first value of an option counts, so the user's come first."""
        words = ["-F", self.config] if self.config else []
        for option in self.options:
            words += ["-o", option]
        if self.identity:
            words += ["-i", self.identity, "-o", "IdentitiesOnly=yes"]
        if self.jump:
            words += ["-J", self.jump]
        settings = {
            "StrictHostKeyChecking": "yes",
            "BatchMode": "no" if sys.stderr.isatty() and sys.stdin.isatty() else "yes",
            "ConnectTimeout": CONNECT_SECONDS,
            "ServerAliveInterval": ALIVE_SECONDS,
            "ServerAliveCountMax": ALIVE_COUNT,
            "ForwardX11": "no",
            "ForwardAgent": "no",
            "PermitLocalCommand": "no",
            "LogLevel": "ERROR",
            "EscapeChar": "none",
        }
        return words + [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def remove_left_behind() -> None:
    """Remove the directories of this user's senders that were killed: nobody holds their lock any more."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = place.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            descriptor = os.open(place / _HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(descriptor)


def _held(place: Path) -> int:
    """The lock that says that a directory is in use, for as long as this process lives."""
    descriptor = os.open(place / _HELD, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


class Link:
    """An open connection to the far side."""

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self.where = str(address)
        self._options = options
        remove_left_behind()
        self._place = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _held(self._place)
        self._socket = self._place / "c"
        self._log = self._place / "log"
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect and authenticate, once. Raises UnreachableError (`unreachable`, `unauthorized`, `refused`)."""
        command = [
            program("ssh"), "-T", "-M", "-S", str(self._socket), "-o", "ControlPersist=no", *_PLAIN,
            *self._options.words, "-s", *self.address.words, "sftp",
        ]  # fmt: skip
        try:
            # The SFTP subsystem is the one thing that every server has; it says nothing until it is asked,
            # and ends when its input does.
            with self._log.open("wb") as log:
                self._master = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=False
                )
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        assert self._master
        deadline = time.monotonic() + _LOGIN_SECONDS
        while not self._socket.exists():
            if self._master.poll() is not None:
                raise failure(self.complaint(), self.where, self._master.returncode)
            if time.monotonic() > deadline:
                raise UnreachableError("unreachable", "logging in took too long", where=self.where, temporary=True)
            time.sleep(0.02)

    def start(self, *words: str, stdin: int = subprocess.PIPE) -> "Running":
        """Run something over the connection: `-s`, `sftp` or a command line for the far shell."""
        subsystem = ["-s"] if words[0] == "-s" else []
        # Without the connection ssh would make a new one by itself; it must fail instead.
        alone = ["-o", "ControlMaster=no", "-o", "ProxyCommand=exit 255", "-o", "LogLevel=ERROR", *_PLAIN]
        config = ["-F", self._options.config] if self._options.config else []
        command = [
            program("ssh"), "-T", *config, "-S", str(self._socket), *alone, *subsystem, *self.address.words,
            *words[len(subsystem) :],
        ]  # fmt: skip
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return Running(self, process)

    def complaint(self) -> str:
        """What the connection itself complained about so far."""
        try:
            return self._log.read_bytes()[-_MAX_COMPLAINT:].decode(errors="replace")
        except OSError:
            return ""

    def is_alive(self) -> bool:
        """Whether the connection is there still."""
        return self._master is not None and self._master.poll() is None

    def failed(self, complaint: str, status: int | None) -> IsthmusError:
        """The error for something that ended badly; the connection's own complaint is heard first."""
        if status in (255, None) or not self.is_alive():
            with suppress(subprocess.TimeoutExpired):
                if self._master:
                    self._master.wait(0.2)
            return failure(f"{complaint}\n{self.complaint()}", self.where, 255)
        return failure(complaint, self.where, status)

    def close(self) -> None:
        """End the connection and everything that runs over it."""
        if self._master:
            if self._master.stdin:
                with suppress(OSError):
                    self._master.stdin.close()
            self._master.terminate()
            try:
                self._master.wait(5)
            except subprocess.TimeoutExpired:
                self._master.kill()
                self._master.wait()
        shutil.rmtree(self._place, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Running:
    """A program on the far side. What it complains about is kept, so that it never waits for us to read it."""

    def __init__(self, link: Link, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._link = link
        self._process = process
        self._said = b""
        self.stdin = process.stdin
        self.stdout = process.stdout
        self._listener = threading.Thread(target=self._listen, name="isthmus-ssh-stderr", daemon=True)
        self._listener.start()

    def feed(self, pieces: Iterable[memoryview | bytes]) -> None:
        """Write to its input, and end that; when it listens no more, `finish` tells why."""
        assert self.stdin
        try:
            for piece in pieces:
                self.stdin.write(piece)
                self.stdin.flush()
        except BrokenPipeError:
            pass
        with suppress(OSError):
            self.stdin.close()

    def finish(self, accepted: Sequence[int] = (0,)) -> int:
        """Wait for its end; its status. Raises UnreachableError for another than the accepted ones."""
        status = self._process.wait()
        self._listener.join(5)
        self.stdout.close()
        if status not in accepted:
            raise self._link.failed(self.complaint, status)
        return status

    def stop(self, feeder: threading.Thread | None = None) -> None:
        """End it, whatever it does; and wait for a thread that feeds it."""
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if feeder:
            feeder.join()
        if self.stdin:
            with suppress(OSError):
                self.stdin.close()
        self._listener.join(5)
        self.stdout.close()

    @property
    def complaint(self) -> str:
        """The end of what it wrote to standard error."""
        return self._said.decode(errors="replace")

    def _listen(self) -> None:
        assert self._process.stderr
        with self._process.stderr as stream:
            while piece := os.read(stream.fileno(), 65536):
                self._said = (self._said + piece)[-_MAX_COMPLAINT:]


def program(name: str) -> str:
    """The path of a program of OpenSSH. Raises UsageError `wrong-usage` where it is not installed."""
    found = shutil.which(name, path=os.environ.get("PATH"))
    if found is None:
        raise UsageError("wrong-usage", f"{name} is not installed here", hint="install OpenSSH's client")
    return found
