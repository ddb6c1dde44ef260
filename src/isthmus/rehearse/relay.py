"""The one way out of the closed world: connections to a server that is already running, and to no other.

`python -m isthmus.rehearse.relay SETTINGS` in the machine's own network; listens in the site's namespace and
connects from here. TLS goes through untouched, so that the node sees the server's own certificate. Not here:
which servers.
"""

import contextlib
import ctypes
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

_NETWORK = 0x40000000  # CLONE_NEWNET
_MOST = 256
_CHUNK = 1 << 16
_TIMEOUT = 30


def main() -> None:
    """Listen, and relay until the end of the world."""
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    with _inside(settings["namespace"]):
        listeners = [(_listen(*route["listen"]), tuple(route["to"])) for route in settings["routes"]]
    free = threading.Semaphore(_MOST)
    for listener, target in listeners:
        threading.Thread(target=_accept, args=(listener, target, free), daemon=True).start()
    threading.Event().wait()


def route(address: str, port: int, to: tuple[str, int]) -> dict[str, Any]:
    """One line of the settings."""
    return {"listen": [address, port], "to": list(to)}


@contextlib.contextmanager
def _inside(namespace: str) -> Iterator[None]:
    """A socket belongs for ever to the network that it was made in."""
    library = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(namespace, os.O_RDONLY)
    try:
        if library.setns(there, _NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        if library.setns(home, _NETWORK):
            os._exit(1)
        os.close(home)
        os.close(there)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=_MOST)


def _accept(listener: socket.socket, target: tuple[str, int], free: threading.Semaphore) -> None:
    while True:
        connection, _ = listener.accept()
        free.acquire()
        threading.Thread(target=_relay, args=(connection, target, free), daemon=True).start()


def _relay(near: socket.socket, target: tuple[str, int], free: threading.Semaphore) -> None:
    try:
        with near, socket.create_connection(target, _TIMEOUT) as far:
            far.settimeout(None)
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()
    except OSError as error:
        sys.stderr.write(f"{target[0]}:{target[1]}: {error}\n")
    finally:
        free.release()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        source.shutdown(socket.SHUT_RD)


if __name__ == "__main__":
    main()
