"""How much of a volume file is there already, and right: reads it from the front until something differs.

Not here: going on from there (`packing`).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.bundle.layout import HEADER_SIZE, RECORD_HEADER_SIZE, TRAILER_SIZE, pack_record
from isthmus.bundle.medium import MediumFile, open_regular
from isthmus.bundle.overlap import Ring
from isthmus.bundle.shape import Planned, Shape
from isthmus.bundle.spans import Spans
from isthmus.errors import UsageError
from isthmus.oci.content import CHUNK

if TYPE_CHECKING:
    from hashlib import _Hash


@dataclass(slots=True)
class Front:
    """The intact front of a file: where it ends, its payloads' checksums, the hash of all its bytes."""

    position: int = 0
    checksums: list[bytes] = field(default_factory=list)
    hash: "_Hash" = field(default_factory=hashlib.sha256)
    complete: bool = False


def scan(path: Path, shape: Shape, spans: Spans, ring: Ring) -> Front:
    """Check a file against what it must become; a missing one has no front. Raises `io-failed`.

    `spans` goes along, so that afterwards it stands where the front ends.
    """
    front = Front()
    try:
        file = open_regular(path)
    except UsageError as error:
        if error.code == "file-not-found":
            return front
        raise
    with file:
        header = shape.header
        if file.at(0, HEADER_SIZE) != header:
            return front
        front.hash.update(header)
        front.position = HEADER_SIZE
        records = shape.records()
        for record in records:
            if not _take(file, record, front, spans, ring):
                return front
        tail = shape.tail(records, front.checksums)
        if file.size == shape.size and file.at(front.position, len(tail)) == tail:
            front.hash.update(tail)
            front.complete = True
    return front


def _take(file: MediumFile, record: Planned, front: Front, spans: Spans, ring: Ring) -> bool:
    head = file.at(record.position, RECORD_HEADER_SIZE)
    start = record.position + RECORD_HEADER_SIZE
    end = start + record.header.length
    if head != pack_record(record.header) or file.size < end + TRAILER_SIZE:
        return False
    whole, payload = front.hash.copy(), hashlib.sha256()
    alone = record.is_whole or record.is_parity
    blob = None if alone else spans.begin(record.header)
    if blob is None and not alone:
        return False
    whole.update(head)
    for position in range(start, end, CHUNK):
        piece = ring.room()[: end - position]
        if file.into(piece, position) != len(piece):
            return False
        for digest in (whole, payload) if blob is None else (whole, payload, blob):
            ring.feed(digest, piece)
    ring.settle(whole, payload, *([] if blob is None else [blob]))
    checksum = payload.digest()
    if file.at(end, TRAILER_SIZE) != checksum or not record.accepts(checksum):
        return False
    if blob is not None and not spans.keep(record.header, blob):
        return False
    whole.update(checksum)
    front.checksums.append(checksum)
    front.hash = whole
    front.position = end + TRAILER_SIZE
    return True
