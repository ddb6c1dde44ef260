"""A whole store looked at by a process of its own, at a low priority: its manifests, or what is on disk.

In a thread, requests would wait for that: Python runs one at a time. `python -m isthmus.serve.survey STORE facts`
takes digests on standard input, one a line; with `count` it takes nothing. What it found goes to standard output,
as frames: four bytes of length, then MessagePack. Not here: who starts it (`surveying`).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
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
_NICE = 10  # a tenth of a core that others want too; lower, and it would take minutes there
_STATUS = Path("/proc/self/status")


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


def gently() -> Callable[[], None]:
    """Take a low priority, or where that may be forbidden half of the time: what to call in between.

    A seccomp filter, such as that of the site's systemd unit, may end a process that asks for a priority.
    """
    if not _is_filtered():
        os.nice(_NICE)
        return lambda: None
    began = [time.monotonic()]

    def rest() -> None:
        time.sleep(time.monotonic() - began[0])
        began[0] = time.monotonic()

    return rest


def _is_filtered() -> bool:
    try:
        return b"\nSeccomp:\t0\n" not in _STATUS.read_bytes()
    except OSError:
        return True


def main(store: Path, what: str) -> None:
    """Look, and say what is there. Raises what the store raises, OSError."""
    rest = gently()
    if what == "count":
        write_frame(sys.stdout.buffer, Frame(counted=count_blobs(store, rest=rest)))
        return
    wanted = [Digest(line) for line in sys.stdin.read().split()]
    with Store.open(store) as held:
        for at in range(0, len(wanted), _FRAME):
            facts = {str(one): find_facts(held, Descriptor("", one, 0)) for one in wanted[at : at + _FRAME]}
            write_frame(sys.stdout.buffer, Frame(facts))
            rest()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
