"""A simulator of a bad one-way link: a relay that loses, doubles and reorders datagrams, and flips bits.

It takes the place of `tc netem`, which not every kernel has. Nothing is ever sent back. It is a program, too:
`python lossy_link.py LISTEN_HOST LISTEN_PORT TO_HOST TO_PORT LOSS DUPLICATES REORDER SEED`.
"""

import random
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Fate:
    """What happens to datagrams, as shares of 1. A lost burst takes `burst` datagrams in sequence."""

    loss: float = 0.0
    duplicates: float = 0.0
    reorder: float = 0.0
    flips: float = 0.0
    burst: int = 1
    seed: int = 1
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("in", "lost", "doubled", "late"), 0))

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._late: list[tuple[int, bytes]] = []
        self._losing = 0

    def of(self, datagram: bytes) -> list[bytes]:
        """What comes out when this one goes in."""
        chance, counts = self._chance.random, self.counts
        counts["in"] += 1
        out = [late for when, late in self._late if when <= counts["in"]]
        if out:
            self._late = [(when, late) for when, late in self._late if when > counts["in"]]
        if self._losing or chance() < self.loss / self.burst:
            self._losing = (self._losing or self.burst) - 1
            counts["lost"] += 1
            return out
        if self.flips and chance() < self.flips:
            spoiled = bytearray(datagram)
            spoiled[self._chance.randrange(len(spoiled))] ^= 1 << self._chance.randrange(8)
            datagram = bytes(spoiled)
        copies = [datagram]
        if chance() < self.duplicates:
            counts["doubled"] += 1
            copies.append(datagram)
        if chance() < self.reorder:
            counts["late"] += 1
            self._late.append((counts["in"] + 1 + int(chance() * 50), copies.pop()))
        return out + copies


class LossyLink:
    """A relay on this machine for the length of the context; `port` is where to send."""

    def __init__(self, to: tuple[str, int], fate: Fate, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.fate = fate
        self.before: Callable[[bytes], bool] = lambda _: True
        self._to = to
        family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self._in = socket.socket(family, socket.SOCK_DGRAM)
        for option in (33, socket.SO_RCVBUF):  # as large as allowed
            try:
                self._in.setsockopt(socket.SOL_SOCKET, option, 32 * 1024 * 1024)
                break
            except OSError:
                continue
        self._in.bind(listen)
        self._in.settimeout(0.2)
        self._out = socket.socket(family, socket.SOCK_DGRAM)
        self.port: int = self._in.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                datagram = self._in.recv(65535)
            except TimeoutError:
                continue
            if self.before(datagram):
                for one in self.fate.of(datagram):
                    self._out.sendto(one, self._to)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._stop.set()
        self._thread.join()
        self._in.close()
        self._out.close()


if __name__ == "__main__":
    here, here_port, there, there_port, loss, duplicates, reorder, seed = sys.argv[1:]
    fate = Fate(float(loss), float(duplicates), float(reorder), seed=int(seed))
    link = LossyLink((there, int(there_port)), fate, (here, int(here_port)))
    print("ready", flush=True)
    threading.Thread(target=link.run, daemon=True).start()
    sys.stdin.read()
    print(fate.counts, flush=True)
