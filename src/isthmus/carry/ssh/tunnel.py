"""A SOCKS 5 proxy over SSH (`ssh -D`), for as long as somebody needs it, and the PAC file that leads to it.

Not here: who uses it (a browser, a command).
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.bundle.medium import write_file
from isthmus.carry.ssh.address import Address
from isthmus.carry.ssh.failures import failure
from isthmus.carry.ssh.link import Options, program
from isthmus.errors import UnreachableError, UsageError

_READY_SECONDS: Final = 120.0
_GREETING: Final = b"\x05\x01\x00"
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An open proxy."""

    host: str
    port: int
    _process: subprocess.Popen[bytes]
    _log: Path
    _where: str

    @property
    def url(self) -> str:
        """As ALL_PROXY: names are resolved on the far side."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"socks5h://{host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which programs use the proxy for everything but this machine."""
        names = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
        found = {name: self.url for upper in names for name in (upper, upper.lower())}
        return {**found, "NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"}

    def is_open(self) -> bool:
        """Whether ssh still runs."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Return never, but raise UnreachableError when the connection ends."""
        status = self._process.wait()
        raise failure(_read(self._log), self._where, 255 if status < 0 else status)


@contextmanager
def open_tunnel(address: Address, options: Options, listen: tuple[str, int]) -> Iterator[Tunnel]:
    """Open the proxy, wait until it answers, and close it at the end; port 0 is any free one.

    Raises UnreachableError (`unreachable`, `unauthorized`, `refused`, `cannot-listen`).
    """
    host, port = listen[0], listen[1] or _free_port(listen[0])
    _require_free(host, port)
    place = Path(tempfile.mkdtemp(prefix="isthmus-tunnel-"))
    log = place / "log"
    bound = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    setpriv = shutil.which("setpriv")
    command = [
        # The tunnel shall not outlive us, however we end.
        *([setpriv, "--pdeathsig", "TERM"] if setpriv else []), program("ssh"), "-N", "-T", "-D", bound,
        "-o", "ExitOnForwardFailure=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none",
        *options.words, *address.words,
    ]  # fmt: skip
    try:
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            _wait(process, host, port, log, str(address))
            yield Tunnel(host, port, process, log, str(address))
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_pac(path: Path, domains: Sequence[str], tunnel: Tunnel) -> None:
    """Write the PAC file. Raises UsageError `wrong-usage`, UnreachableError `io-failed`."""
    write_file(path, [memoryview(pac(domains, tunnel.host, tunnel.port).encode())])


def pac(domains: Sequence[str], host: str, port: int) -> str:
    """A script for browsers: these domains and what is below them through the proxy, all else directly."""
    names = sorted({name.strip().lower().strip(".") for name in domains})
    for name in names:
        if not name or not set(name) <= _LETTERS:
            raise UsageError("wrong-usage", f"not a domain: {name!r}")
    shown = f"[{host}]" if ":" in host else host
    tests = " ||\n      ".join(f'host === "{name}" || dnsDomainIs(host, ".{name}")' for name in names)
    return (
        "// Written by isthmus tunnel: the site through the tunnel, everything else as ever.\n"
        "function FindProxyForURL(url, host) {\n"
        "  host = host.toLowerCase();\n"
        f"  if ({tests}) {{\n"
        f'    return "SOCKS5 {shown}:{port}; SOCKS {shown}:{port}";\n'
        "  }\n"
        '  return "DIRECT";\n'
        "}\n"
    )


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:1080`, `[::1]:1080` or `1080`. Raises UsageError `wrong-usage`."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) < 65536) or host.startswith("-"):
        raise UsageError("wrong-usage", f"not an address: {text!r}", hint="write 127.0.0.1:1080")
    return host, int(port)


def _wait(process: subprocess.Popen[bytes], host: str, port: int, log: Path, where: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        if process.poll() is not None:
            raise failure(_read(log), where, process.returncode)
        if _answers(host, port):
            return
        if time.monotonic() > deadline:
            raise UnreachableError("unreachable", "the tunnel does not answer", where=where, temporary=True)
        time.sleep(0.05)


def _answers(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=5) as sock:
        sock.sendall(_GREETING)
        return sock.recv(2) == b"\x05\x00"
    return False


def _free_port(host: str) -> int:
    try:
        with socket.create_server((host, 0), family=_family(host)) as sock:
            return int(sock.getsockname()[1])
    except OSError as error:
        raise _cannot_listen(error, host, 0) from error


def _require_free(host: str, port: int) -> None:
    """Whoever listens there already would be taken for the tunnel."""
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        raise _cannot_listen(error, host, port) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cannot_listen(error: OSError, host: str, port: int) -> UnreachableError:
    return UnreachableError(
        "cannot-listen",
        error.strerror or "the address cannot be used",
        where=f"{host}:{port}",
        hint="choose another with --socks 127.0.0.1:PORT",
    )


def _read(log: Path) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
