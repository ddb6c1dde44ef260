"""Bytes of damaged volumes that no checksum vouches for any more: the digest of the whole blob does.

For stripes of which no parity cell is left, and records whose own headers or checksums are spoiled: what is not
here yet is read where it should be, and taken only where the blob then has its digest. Nothing else is ever
staged. Not here: what checksums still say (`repair`).
"""

from collections.abc import Callable, Iterator

from isthmus.bundle.manifest import Blob
from isthmus.bundle.shards import Kept, Shards
from isthmus.bundle.stage import Stage
from isthmus.errors import VerificationError
from isthmus.oci import Verifier
from isthmus.oci.content import new_buffer

_Read = Callable[[int, int, memoryview], bool]
"""Fills a view from a blob, by its number, at an offset; False where that cannot be had."""


def proven(shards: Shards, number: int) -> bool:
    """Whether a blob is whole in the files that are there, whatever is damaged around its bytes."""
    blob = shards.contents.manifest.blobs[number]
    return _has_digest(number, blob, [(0, blob.size)], shards.unchecked, shards.unchecked)


def salvage(stage: Stage, shards: Shards, kept: Kept) -> None:
    """Stage what is lacking of blobs whose other bytes are here. Raises `io-failed`."""
    buffer = new_buffer()
    for number in stage.lacking():
        blob = stage.manifest.blobs[number]
        holes = stage.staging.missing(*blob)
        if not _has_digest(number, blob, holes, shards.unchecked, kept.read_kept):
            continue
        for start, end in holes:
            with stage.staging.write_at(*blob, start, end - start) as writer:
                for position, view in _pieces(start, end, buffer):
                    if not shards.unchecked(number, position, view):
                        break
                    writer.write(view)
                else:
                    writer.commit()


def _has_digest(number: int, blob: Blob, holes: list[tuple[int, int]], read: _Read, read_kept: _Read) -> bool:
    verifier, buffer, reached = Verifier(blob.digest, blob.size), new_buffer(), 0
    for start, end in (*holes, (blob.size, blob.size)):
        for source, first, last in ((read_kept, reached, start), (read, start, end)):
            for position, view in _pieces(first, last, buffer):
                if not source(number, position, view):
                    return False
                verifier.update(view)
        reached = end
    try:
        verifier.finish()
    except VerificationError:
        return False
    return True


def _pieces(start: int, end: int, buffer: memoryview) -> Iterator[tuple[int, memoryview]]:
    for position in range(start, end, len(buffer)):
        yield position, buffer[: min(len(buffer), end - position)]
