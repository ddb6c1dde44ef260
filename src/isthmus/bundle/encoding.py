"""Making parity: the payload of a parity volume's record, from the blobs in the store, a stripe at a time.

The blobs were verified when the volumes before it were written. Not here: where what is (`parity`).
"""

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from struct import Struct

from isthmus.bundle.galois import coefficient, multiply, spaced
from isthmus.bundle.manifest import BundleManifest, Segment
from isthmus.bundle.parity import Geometry, geometry_of
from isthmus.errors import VerificationError
from isthmus.oci import Descriptor
from isthmus.store import Store

_CRC = Struct(">I")


def parity_payload(
    manifest: BundleManifest, record: Segment, store: Store, *, library: bool = True
) -> Iterator[memoryview]:
    """The cells of a parity record, for each stripe those of all its rows.

    Memory is for two stripes: one is read while the other is worked on. Raises VerificationError `damaged-store`.
    """
    geometry = geometry_of(manifest)
    assert geometry is not None
    columns, size = len(geometry.columns), geometry.parity.shard
    rows = range(record.blob, record.blob + record.length // (geometry.parity.stripes * geometry.cell_size))
    matrix = [[coefficient(row, column, columns) for column in range(columns)] for row in rows]

    def read(stripe: int, shards: list[memoryview]) -> tuple[list[memoryview], bytes]:
        for column, shard in enumerate(shards):
            _read(geometry, stripe, column, shard, manifest, store)
        return shards, checksum_table(shards)

    with ThreadPoolExecutor(1, "isthmus-parity") as pool:
        spare = spaced(columns, size)
        ahead = pool.submit(read, 0, spaced(columns, size))
        for stripe in range(geometry.parity.stripes):
            shards, table = ahead.result()
            if stripe + 1 < geometry.parity.stripes:
                ahead = pool.submit(read, stripe + 1, spare)
            spare = shards
            for result in multiply(matrix, shards, library=library):
                yield memoryview(_CRC.pack(zlib.crc32(result, zlib.crc32(table))) + table)
                yield result


def checksum_table(shards: Sequence[memoryview]) -> bytes:
    """The CRC-32 of every data shard of a stripe, filled up with zeros as it is."""
    return b"".join(_CRC.pack(zlib.crc32(shard)) for shard in shards)


def _read(
    geometry: Geometry, stripe: int, column: int, shard: memoryview, manifest: BundleManifest, store: Store
) -> None:
    end = 0
    for piece in geometry.pieces(stripe, column):
        blob = manifest.blobs[piece.blob]
        descriptor = Descriptor(media_type="application/octet-stream", digest=blob.digest, size=blob.size)
        end = piece.at + piece.length
        with store.open_blob("", descriptor, piece.offset) as reader:
            at = piece.at
            while at < end:
                count = reader.readinto(shard[at:end])
                if not count:
                    where = str(store.blob_path(blob.digest))
                    raise VerificationError("damaged-store", f"{blob.digest} is too short", where=where)
                at += count
    if end < len(shard):
        shard[end:] = bytes(len(shard) - end)
