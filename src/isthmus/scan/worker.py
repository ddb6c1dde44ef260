"""A process that scans pieces of YAML for another, so that both cores work: `python -m isthmus.scan.worker`.

Messages in both directions are a length in four bytes and MessagePack. Not here: sharing out the work
(`workers`).
"""

import struct
import sys
from typing import IO, Any

import msgspec

from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.apply import apply_rules
from isthmus.scan.catalogue_use import using
from isthmus.scan.document import Document
from isthmus.scan.facts import Doubtful, FlagDefault, Gap, SchemaField
from isthmus.scan.sources.manifests import read_pieces
from isthmus.scan.yaml_reader import Piece

_LENGTH = struct.Struct(">I")


class Task(msgspec.Struct, frozen=True):
    """Pieces of the file at `where`, whose evidence has `label`; `catalogue` are the caller's own files."""

    label: str
    where: str
    pieces: tuple[Piece, ...]
    catalogue: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What was found in a task's pieces, by type, because MessagePack does not keep types."""

    documents: int = 0
    references: tuple[Ref, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    items: tuple[Item, ...] = ()
    doubtful: tuple[Doubtful, ...] = ()
    gaps: tuple[Gap, ...] = ()
    fields: tuple[SchemaField, ...] = ()
    defaults: tuple[FlagDefault, ...] = ()

    def things(self) -> list[Any]:
        """Everything that was found, as rules yield it."""
        facts = (*self.doubtful, *self.gaps, *self.fields, *self.defaults)
        return [*self.references, *self.endpoints, *self.items, *facts]


def work(task: Task) -> Answer:
    """Scan the pieces of one task."""
    documents = 0
    found: list[Any] = []
    for thing in read_pieces(task.pieces, task.where, task.label):
        if isinstance(thing, Document):
            documents += 1
            found.extend(apply_rules(thing))
        else:
            found.append(thing)
    return Answer(
        documents=documents,
        references=tuple(thing for thing in found if isinstance(thing, Ref)),
        endpoints=tuple(thing for thing in found if isinstance(thing, Endpoint)),
        items=tuple(thing for thing in found if isinstance(thing, Item)),
        doubtful=tuple(thing for thing in found if isinstance(thing, Doubtful)),
        gaps=tuple(thing for thing in found if isinstance(thing, Gap)),
        fields=tuple(thing for thing in found if isinstance(thing, SchemaField)),
        defaults=tuple(thing for thing in found if isinstance(thing, FlagDefault)),
    )


def send(stream: IO[bytes] | None, message: msgspec.Struct) -> None:
    """Write one message."""
    assert stream is not None
    data = msgspec.msgpack.encode(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> bytes | None:
    """Read one message, or None where the other side has closed."""
    assert stream is not None
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    size = _LENGTH.unpack(head)[0]
    data = stream.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Answer tasks until there are no more."""
    decoder = msgspec.msgpack.Decoder(Task)
    while (data := receive(sys.stdin.buffer)) is not None:
        task = decoder.decode(data)
        with using(task.catalogue):
            send(sys.stdout.buffer, work(task))


if __name__ == "__main__":
    main()
