"""Which process has a socket, in a network namespace of which only the inode is known. Reads /proc; Linux only.

Asked before the packet is answered, so that even a program that ends right after is still there. Not here:
packets.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTS = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6"), "icmp": ("icmp", "icmp6", "raw")}


def process_of(namespace: int, protocol: str, port: int) -> str:
    """The name of the process with that local port; nothing where it cannot be told.

    Where the namespace has a single process only, that is the one.
    """
    pids = list(_inside(namespace))
    if not pids:
        return ""
    socket = _socket(pids[0], protocol, port)
    owners = [pid for pid in pids if socket and _has(pid, socket)]
    found = owners[-1] if owners else pids[-1] if len(pids) == 1 else ""
    return _name(found) if found else ""


def _inside(namespace: int) -> Iterator[str]:
    for entry in sorted((name for name in os.listdir(_PROC) if name.isdigit()), key=int):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{entry}/ns/net").st_ino == namespace:
                yield entry


def _socket(pid: str, protocol: str, port: int) -> str:
    """The inode of the socket, as /proc/PID/net lists it."""
    wanted = f"{port:04X}"
    for name in _LISTS.get(protocol, ()):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{name}", encoding="ascii") as lines:
            next(lines, "")
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and fields[1].rpartition(":")[2] == wanted:
                    return fields[9]
    return ""


def _has(pid: str, inode: str) -> bool:
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path) == f"socket:[{inode}]":
                    return True
    return False


def _name(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
