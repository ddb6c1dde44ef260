"""Copies a whole set of images from sources to one sink: each manifest fetched once, each blob moved once.

Blobs go largest first, so that a long one does not start last; they are shared between repositories next,
and manifests and tags go last (`publish`). Not here: what the items are (`jobs`), what the sink has
(`survey`).
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import msgspec

from isthmus.oci import Descriptor, Digest, Manifest, Sink
from isthmus.progress import Meter, Progress, silent
from isthmus.transfer.blob import BlobCounts, BlobMover, BlobRoute
from isthmus.transfer.plan import BlobPlan, CopyItem, ItemPlan, heights
from isthmus.transfer.pool import StopFlag, do_all, run_all
from isthmus.transfer.publish import publish
from isthmus.transfer.reshape import as_it_is
from isthmus.transfer.shelf import Known, Shelf
from isthmus.transfer.survey import AskForEverything, Survey
from isthmus.transfer.tree import Carried, Tree, everything, walk, with_referrers

_STRIPES = 251  # locks, so that two threads rarely wait for each other over different manifests
__all__ = ["CopyItem", "CopyResult", "copy"]

Reshape = Callable[[CopyItem, Tree], Tree]


class CopyResult(msgspec.Struct, frozen=True):
    """`blobs` and `bytes` were moved, `skipped` blobs were there already, `mounted` ones cost no bytes.

    `roots` are what the names of the items stand for now, in the order of the items. `skipped_foreign` are the
    layers that registries need not hold, that no source had, and that were left out as asked for.
    """

    references: int
    blobs: int
    bytes: int
    mounted: int
    skipped: int
    seconds: float
    roots: tuple[Descriptor, ...] = ()
    skipped_foreign: tuple[Descriptor, ...] = ()


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
) -> CopyResult:
    """Copy every item; returns only when all is there, otherwise raises the first error.

    `known` may answer with a manifest that need not be fetched again, for instance from the sink; `survey`
    knows what the sink has; children of indexes that are not `carried` are left out, and `reshape` may leave
    out more. What was moved before an error is kept
    by the sink, so that the next run moves only the rest.
    """
    started = time.monotonic()
    stop = StopFlag()
    with closing(Shelf()) as shelf:
        run = _Run(items, sink, jobs, stop, shelf, survey or AskForEverything())
        plans, blobs = run.plan(_Fetcher(known, shelf, carried), reshape)
        counts, left_out = run.move(blobs, progress, skip_foreign=skip_foreign)
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
        skipped_foreign=tuple(sorted(left_out, key=lambda blob: blob.digest)),
    )


class _Run:
    """One run of the engine, step by step."""

    def __init__(
        self, items: Sequence[CopyItem], sink: Sink, jobs: int, stop: StopFlag, shelf: Shelf, survey: Survey
    ) -> None:
        self._items = items
        self._sink = sink
        self._jobs = jobs
        self._stop = stop
        self._shelf = shelf
        self._survey = survey

    def plan(self, fetcher: "_Fetcher", reshape: Reshape) -> tuple[list[ItemPlan], BlobPlan]:
        """Look at every item: what it consists of, and what the sink has."""
        blobs = BlobPlan(self._items)
        adding = threading.Lock()

        def look(number: int) -> ItemPlan:
            item = self._items[number]
            root = self._survey.remembered(item)
            if root is not None:
                return ItemPlan(root=root, settled=True)
            tree = reshape(item, fetcher.tree(item))
            found = self._survey.look(item, tree)
            levels = heights(tree)
            plan = ItemPlan(tree.root.descriptor(), levels, _missing(tree), found.present, found.tagged)
            with adding:
                blobs.add(number, tree.blobs, whole=plan.whole and not self._survey.thorough)
            return plan

        plans = run_all(look, range(len(self._items)), self._jobs, self._stop)
        blobs.close()
        return plans, blobs

    def move(
        self, blobs: BlobPlan, progress: Progress, *, skip_foreign: bool
    ) -> tuple[BlobCounts, Sequence[Descriptor]]:
        """Bring every blob to one repository, largest first, then to the others; what was left out, too."""
        meter = Meter(blobs.bytes, progress)
        thorough = self._survey.thorough
        mover = BlobMover(self._sink, meter, self._stop, thorough=thorough, skip_foreign=skip_foreign)
        shares: list[tuple[BlobRoute, str, str]] = []

        def bring(place: int) -> None:
            route = self._with_holder(blobs.route(place))
            holder, rest = mover.bring(route)
            shares.extend((route, holder, name) for name in rest)

        do_all(bring, range(len(blobs)), self._jobs, self._stop)
        do_all(lambda task: mover.share(*task), shares, self._jobs, self._stop)
        return mover.counts, mover.left_out

    def _with_holder(self, route: BlobRoute) -> BlobRoute:
        if route.holder or not route.targets or self._survey.thorough:
            return route
        # It may be gone. The first target stays the first all the same: a run after a killed one looks there.
        holder = self._survey.holder(route.blob.digest)
        return msgspec.structs.replace(route, rumour="" if holder == route.targets[0] else holder)

    def finish(self, plans: Sequence[ItemPlan], left_out: Sequence[Descriptor]) -> int:
        """Tell the survey what is complete; returns the number of blobs of items that were so before."""
        settled = []
        absent = frozenset(left_out)
        for item, plan in zip(self._items, plans, strict=True):
            if plan.settled:
                settled.append(item)
            elif not absent or absent.isdisjoint(self._blobs(plan)):
                self._survey.complete(item, plan.root, self._blobs(plan))
        return self._survey.count_blobs(settled)

    def _blobs(self, plan: ItemPlan) -> Iterator[Descriptor]:
        for digest, _ in plan.heights:
            yield from self._shelf.get(digest).blobs


class _Fetcher:
    """Fetches manifests, each digest once however many items share it."""

    def __init__(self, known: Known, shelf: Shelf, carried: Carried) -> None:
        self._known = known
        self._shelf = shelf
        self._carried = carried
        self._busy = [threading.Lock() for _ in range(_STRIPES)]

    def tree(self, item: CopyItem) -> Tree:
        """All manifests of an item."""

        def fetch(digest: Digest) -> Manifest:
            return self._fetch(item, digest)

        root = fetch(item.digest)
        manifests = walk(root, item.platforms, fetch, self._carried)
        return with_referrers(root, manifests, item.referrers, fetch, self._carried)

    def _fetch(self, item: CopyItem, digest: Digest) -> Manifest:
        with self._busy[hash(digest) % _STRIPES]:
            found = self._shelf.find(digest)
            if found is None:
                found = self._known(digest) or item.source.manifest(item.source_repository, digest)
                self._shelf.put(found)
            return found


def _missing(tree: Tree) -> tuple[Digest, ...]:
    """Children that indexes name and that are not in the tree."""
    carried = {manifest.digest for manifest in tree.everything}
    named: Iterable[Digest] = (child.digest for m in tree.manifests for child in m.manifests)
    return tuple(dict.fromkeys(digest for digest in named if digest not in carried))
