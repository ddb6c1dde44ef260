"""One run of the engine, step by step: plan, move, look for what is not there yet, and remember.

Not here: the order of the steps (`engine`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from isthmus.oci import Descriptor, Digest, Sink
from isthmus.progress import Meter, Progress
from isthmus.transfer.blob import BlobCounts, BlobMover, BlobRoute
from isthmus.transfer.fetch import Fetcher
from isthmus.transfer.plan import BlobPlan, CopyItem, ItemPlan, heights
from isthmus.transfer.pool import StopFlag, Stopped, do_all, run_all
from isthmus.transfer.shard import Shard
from isthmus.transfer.shelf import Shelf
from isthmus.transfer.survey import Survey
from isthmus.transfer.tree import Tree

Reshape = Callable[[CopyItem, Tree], Tree]


class Run:
    """The steps of one run share what it knows."""

    def __init__(
        self, items: Sequence[CopyItem], sink: Sink, jobs: int, stop: StopFlag, shelf: Shelf, survey: Survey
    ) -> None:
        self._items = items
        self._sink = sink
        self._jobs = jobs
        self._stop = stop
        self._shelf = shelf
        self._survey = survey

    def plan(self, fetcher: Fetcher, reshape: Reshape) -> tuple[list[ItemPlan], BlobPlan]:
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
        self, blobs: BlobPlan, progress: Progress, shard: Shard, *, skip_foreign: bool
    ) -> tuple[BlobCounts, Sequence[Descriptor]]:
        """Bring every blob to one repository, largest first, then to the others; what was left out, too."""
        places = range(len(blobs)) if shard.is_whole else blobs.places(shard.has)
        meter = Meter(sum(map(blobs.size, places)), progress)
        thorough = self._survey.thorough
        mover = BlobMover(self._sink, meter, self._stop, thorough=thorough, skip_foreign=skip_foreign)
        shares: list[tuple[BlobRoute, str, str]] = []

        def bring(place: int) -> None:
            route = self._with_holder(blobs.route(place))
            holder, rest = mover.bring(route)
            shares.extend((route, holder, name) for name in rest)

        do_all(bring, places, self._jobs, self._stop)
        do_all(lambda task: mover.share(*task), shares, self._jobs, self._stop)
        return mover.counts, mover.left_out

    def _with_holder(self, route: BlobRoute) -> BlobRoute:
        if route.holder or not route.targets or self._survey.thorough:
            return route
        # It may be gone. The first target stays the first all the same: a run after a killed one looks there.
        holder = self._survey.holder(route.blob.digest)
        return msgspec.structs.replace(route, rumour="" if holder == route.targets[0] else holder)

    def absent(self, blobs: BlobPlan, shard: Shard, *, skip_foreign: bool) -> list[tuple[str, Digest]]:
        """Blobs of other shards that the sink lacks, as repository and digest: for the empty shard all of them.

        A shard that has blobs of its own wants to know only whether there are any, and looks at the smallest
        first, since those come last.
        """
        found: list[tuple[str, Digest]] = []
        enough = StopFlag()

        def look(place: int) -> None:
            route = blobs.route(place)
            if skip_foreign and route.blob.is_foreign:
                return
            for repository in route.targets:
                if not self._sink.has_blob(repository, route.blob):
                    found.append((repository, route.blob.digest))
                    if not shard.is_empty:
                        enough.set()

        places = blobs.places(lambda digest: not shard.has(digest))
        try:
            do_all(look, places[::-1], self._jobs, enough)
        except Stopped:
            if not found:
                raise
        return found

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


def _missing(tree: Tree) -> tuple[Digest, ...]:
    """Children that indexes name and that are not in the tree."""
    carried = {manifest.digest for manifest in tree.everything}
    named: Iterable[Digest] = (child.digest for m in tree.manifests for child in m.manifests)
    return tuple(dict.fromkeys(digest for digest in named if digest not in carried))
