"""Splitting one copy between machines that know nothing of each other: by the digests of the blobs.

Each shard plans the same set and moves its own blobs; whoever finds all of them there puts manifests and
tags. Copies are idempotent, so shards need no coordinator and may be started again.
"""

from collections.abc import Sequence

import msgspec

from isthmus.errors import IncompleteError, UsageError
from isthmus.oci import Digest

MAX_SHARDS = 4096
_SHOWN = 100


class Shard(msgspec.Struct, frozen=True):
    """The blobs of which the first 32 bits of the digest leave `index` when divided by `count`.

    With `count` 1 it has all blobs, with 0 none: that is the finishing pass.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`I/N`, with I counted from 0 or from 1: 0 and N are the same. Raises UsageError (`wrong-usage`)."""
        index, slash, count = text.partition("/")
        numbers = (index + count).isascii() and (index + count).isdigit() and len(index + count) < 12
        if not slash or not index or not count or not numbers or not 1 <= int(count) <= MAX_SHARDS:
            raise UsageError(
                "wrong-usage", f"not a shard: {text[:40]!r}", hint="write I/N, as 0/4, 1/4, 2/4 and 3/4"
            )
        if int(index) > int(count):
            raise UsageError("wrong-usage", f"there is no shard {index} of {count}")
        return cls(int(index) % int(count), int(count))

    @property
    def is_whole(self) -> bool:
        """Whether it has every blob."""
        return self.count == 1

    @property
    def is_empty(self) -> bool:
        """Whether it has none."""
        return self.count == 0

    def has(self, digest: Digest) -> bool:
        """Whether a blob is of this shard."""
        return self.count > 0 and int(digest.hex[:8], 16) % self.count == self.index


WHOLE = Shard()
FINISH = Shard(count=0)


def still_missing(absent: Sequence[tuple[str, Digest]]) -> IncompleteError:
    """What a finishing pass says that finds blobs missing."""
    listed = [f"{repository}@{digest}" for repository, digest in sorted(absent)]
    more = [f"and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    return IncompleteError(
        "missing-content",
        f"{len(listed)} blobs are not there yet, so no manifest and no tag was put",
        hint="let every shard end, or run mirror without --finish to bring what is missing",
        items=listed[:_SHOWN] + more,
    )
