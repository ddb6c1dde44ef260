"""A whole store looked at by a process of its own, at the lowest priority: its manifests, or what is on disk.

In a thread, requests would wait for that: Python runs one at a time. `python -m isthmus.serve.survey STORE facts`
takes digests on standard input, one a line; with `count` it takes nothing. What it found goes to standard output,
as frames: four bytes of length, then MessagePack. Not here: who starts it (`surveying`).
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec

from isthmus.oci import Descriptor, Digest
from isthmus.serve.disk import Counted, count_blobs
from isthmus.serve.facts import Facts, find_facts
from isthmus.store import Store

What = Literal["facts", "count"]

_FRAME = 50  # manifest trees; decoding that many keeps nobody waiting
_LENGTH = 4


class Frame(msgspec.Struct):
    """A part of what was found."""

    facts: dict[str, Facts] = {}
    counted: Counted | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def write_frame(file: IO[bytes], frame: Frame) -> None:
    """Append one."""
    data = _encoder.encode(frame)
    file.write(len(data).to_bytes(_LENGTH) + data)


def read_frames(file: IO[bytes]) -> Iterator[Frame]:
    """All of them. Raises msgspec.MsgspecError, ValueError for anything else."""
    while len(head := file.read(_LENGTH)) == _LENGTH:
        yield _decoder.decode(file.read(int.from_bytes(head)))


def main(store: Path, what: str) -> None:
    """Look, and say what is there. Raises what the store raises, OSError."""
    os.nice(19)
    if what == "count":
        write_frame(sys.stdout.buffer, Frame(counted=count_blobs(store)))
        return
    wanted = [Digest(line) for line in sys.stdin.read().split()]
    with Store.open(store) as held:
        for at in range(0, len(wanted), _FRAME):
            facts = {str(one): find_facts(held, Descriptor("", one, 0)) for one in wanted[at : at + _FRAME]}
            write_frame(sys.stdout.buffer, Frame(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
