"""The program at the site's end: answers names, sees every frame, and writes each attempt to leave as a JSON line.

`python -m isthmus.rehearse.recorder SETTINGS` with a JSON file; runs in the site's namespace until it is stopped.
Needs nothing but the standard library, so that it starts at once. Not here: summing up (`egress`).
"""

import contextlib
import ipaddress
import json
import os
import socket
import sys
import threading
from typing import Any

from isthmus.rehearse.names import NameServer
from isthmus.rehearse.packets import Attempt, attempt_of
from isthmus.rehearse.processes import process_of

_ALL_FRAMES = 3
_LARGEST = 65536
_DNS = 53


def main() -> None:
    """Read the settings, listen, say so, and record until the end of the world."""
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    Recorder(settings).run()


class Recorder:
    """One raw socket on the bridge, one for names, and what was already written."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._networks = [ipaddress.ip_network(text) for text in settings["networks"]]
        self._programs: str = settings["programs"]
        self._names = NameServer(settings["records"], settings["sink"], len(self._networks) > 1)
        self._seen: set[Attempt] = set()
        self._writing = threading.Lock()
        self._frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
        self._frames.bind((settings["device"], 0))
        self._queries = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._queries.bind((settings["address"], _DNS))
        self._stream = socket.create_server((settings["address"], _DNS))

    def run(self) -> None:
        """Record; ends with the process."""
        with contextlib.suppress(OSError):
            os.nice(-10)  # what is tried may keep the machine busy
        # Whose packet it was can take long to find out where there are many processes; names do not wait for that.
        for loop in (self._answer_queries, self._answer_streams):
            threading.Thread(target=loop, daemon=True).start()
        self._say({"ready": True})
        while True:
            with contextlib.suppress(OSError):
                self._frame(self._frames.recv(_LARGEST))

    def _answer_queries(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self._query(*self._queries.recvfrom(_LARGEST))

    def _answer_streams(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self._query_in_stream()

    def _query(self, query: bytes, sender: tuple[str, int]) -> None:
        answer, name = self._names.answer(query)
        if name:
            self._write(sender[0], sender[1], name, _DNS, "dns", "udp")
        if answer:
            self._queries.sendto(answer, sender)

    def _query_in_stream(self) -> None:
        connection, sender = self._stream.accept()
        with connection:
            connection.settimeout(1)
            size = int.from_bytes(connection.recv(2), "big")
            answer, name = self._names.answer(connection.recv(size))
            if name:
                self._write(sender[0], sender[1], name, _DNS, "dns", "tcp")
            connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _frame(self, frame: bytes) -> None:
        attempt = attempt_of(frame)
        if attempt is None or attempt in self._seen:
            return  # the same connection is tried several times
        target = ipaddress.ip_address(attempt.target)
        if target.is_multicast or target.is_link_local or target == ipaddress.ip_address("255.255.255.255"):
            return
        if any(target in network for network in self._networks):
            return
        self._seen.add(attempt)
        to = self._names.name_of(attempt.target) or attempt.target
        self._write(attempt.source, attempt.source_port, to, attempt.port, attempt.protocol, attempt.protocol)

    def _write(self, source: str, source_port: int, to: str, port: int, protocol: str, below: str) -> None:
        process = process_of(self._namespace(source), below, source_port)
        self._say({"source": source, "to": to, "port": port, "proto": protocol, "process": process})

    def _namespace(self, address: str) -> int:
        """The inode of the namespace with that address, as whoever made it has written down."""
        with contextlib.suppress(OSError, ValueError), open(os.path.join(self._programs, address)) as file:
            return int(file.read())
        return -1

    def _say(self, document: dict[str, Any]) -> None:
        with self._writing:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
