"""Copies a whole set of images from sources to one sink: each manifest fetched once, each blob moved once.

Blobs go largest first, so that a long one does not start last; they are shared between repositories next,
and manifests and tags go last (`publish`). Not here: what the items are (`jobs`), what the sink has
(`survey`).
"""

import time
from collections.abc import Sequence
from contextlib import closing

from isthmus.oci import Sink
from isthmus.progress import Progress, silent
from isthmus.transfer.fetch import Fetcher
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.pool import StopFlag
from isthmus.transfer.publish import publish
from isthmus.transfer.reshape import as_it_is
from isthmus.transfer.result import CopyResult
from isthmus.transfer.run import Reshape, Run
from isthmus.transfer.shard import WHOLE, Shard, still_missing
from isthmus.transfer.shelf import Known, Shelf
from isthmus.transfer.survey import AskForEverything, Survey
from isthmus.transfer.tree import Carried, everything

__all__ = ["CopyItem", "CopyResult", "copy"]


def copy(
    items: Sequence[CopyItem],
    sink: Sink,
    jobs: int = 4,
    progress: Progress = silent,
    known: Known = lambda _: None,
    survey: Survey | None = None,
    carried: Carried = everything,
    reshape: Reshape = as_it_is,
    skip_foreign: bool = False,
    shard: Shard = WHOLE,
) -> CopyResult:
    """Copy every item; returns only when all is there, otherwise raises the first error.

    `known` may answer with a manifest that need not be fetched again, for instance from the sink; `survey`
    knows what the sink has; children of indexes that are not `carried` are left out, and `reshape` may leave
    out more. What was moved before an error is kept by the sink, so that the next run moves only the rest.

    With a `shard` only its blobs are moved, and manifests and tags are put only if those of all others are
    there; the shard that moves nothing raises IncompleteError (`missing-content`) where they are not.
    """
    started = time.monotonic()
    stop = StopFlag()
    with closing(Shelf()) as shelf:
        run = Run(items, sink, jobs, stop, shelf, survey or AskForEverything())
        plans, blobs = run.plan(Fetcher(known, shelf, carried), reshape)
        counts, left_out = run.move(blobs, progress, shard, skip_foreign=skip_foreign)
        absent = [] if shard.is_whole else run.absent(blobs, shard, skip_foreign=skip_foreign)
        if absent and shard.is_empty:
            raise still_missing(absent)
        remembered = 0
        if not absent:
            publish(items, plans, shelf, sink, jobs, stop)
            remembered = run.finish(plans, left_out)
    return CopyResult(
        references=len(items),
        blobs=counts.blobs,
        bytes=counts.bytes,
        mounted=counts.mounted,
        skipped=counts.skipped + remembered,
        seconds=time.monotonic() - started,
        roots=tuple(plan.root for plan in plans),
        finished=not absent,
        skipped_foreign=tuple(sorted(left_out, key=lambda blob: blob.digest)),
    )
