"""What a copy has done. Only the value."""

import msgspec

from isthmus.oci import Descriptor


class CopyResult(msgspec.Struct, frozen=True):
    """`blobs` and `bytes` were moved, `skipped` blobs were there already, `mounted` ones cost no bytes.

    `roots` are what the names of the items stand for now, in the order of the items. `skipped_foreign` are the
    layers that registries need not hold, that no source had, and that were left out as asked for. Not `finished`
    is a shard that waits for others, which will put manifests and tags.
    """

    references: int
    blobs: int
    bytes: int
    mounted: int
    skipped: int
    seconds: float
    roots: tuple[Descriptor, ...] = ()
    skipped_foreign: tuple[Descriptor, ...] = ()
    finished: bool = True
