"""Copies a whole set of images from sources to one sink: each manifest fetched once, each blob moved once.

Blobs go largest first, so that a long one does not start last; manifests go after all blobs, children
before parents, tags at the very end, so that a reader of the sink never sees an incomplete image.
"""

import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from isthmus.oci import Descriptor, Digest, Manifest, Platform, Sink, Source
from isthmus.progress import Meter, Progress, silent
from isthmus.transfer.blob import BlobMover, BlobRoute
from isthmus.transfer.pool import StopFlag, run_all
from isthmus.transfer.tree import Tree, walk, with_referrers

Known = Callable[[Digest], Manifest | None]


class CopyItem(msgspec.Struct, frozen=True):
    """One image or artifact to copy: from where, to where, and under which tags."""

    name: str
    source: Source
    source_repository: str
    sink_repository: str
    digest: Digest
    tags: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    referrers: tuple[Digest, ...] = ()


class CopyResult(msgspec.Struct, frozen=True):
    """`blobs` and `bytes` were moved, `skipped` blobs were there already, `mounted` ones cost no bytes."""

    references: int
    blobs: int
    bytes: int
    mounted: int
    skipped: int
    seconds: float
    trees: tuple[Tree, ...] = ()


def copy(
    items: Sequence[CopyItem],
    sink: Sink,
    jobs: int = 4,
    progress: Progress = silent,
    known: Known = lambda _: None,
    manifests_prove_blobs: bool = False,
) -> CopyResult:
    """Copy every item; returns only when all is there, otherwise raises the first error.

    `known` may answer with a manifest that need not be fetched again, for instance from the sink.
    `manifests_prove_blobs` says that the sink holds all that its manifests name, as registries do; a store is
    asked for every blob instead, since a file may have been removed. What was moved before an error is kept
    by the sink, so that the next run moves only the rest.
    """
    started = time.monotonic()
    stop = StopFlag()
    fetcher = _Fetcher(known)
    trees = run_all(fetcher.tree, items, jobs, stop)
    pairs = list(zip(items, trees, strict=True))
    whole = [False] * len(pairs)
    if manifests_prove_blobs:
        whole = run_all(lambda pair: _is_whole(pair[0], pair[1], sink), pairs, jobs, stop)
    routes = _routes(pairs, whole)
    meter = Meter(sum(route.blob.size for route in routes), progress)
    mover = BlobMover(sink, meter, stop)
    moved = run_all(mover.move, routes, jobs, stop)
    run_all(lambda pair: _publish(pair[0], pair[1], sink), pairs, jobs, stop)
    return CopyResult(
        references=len(items),
        blobs=sum(1 for outcome in moved if outcome.bytes or outcome.uploads),
        bytes=sum(outcome.bytes for outcome in moved),
        mounted=sum(outcome.mounted for outcome in moved),
        skipped=sum(outcome.skipped for outcome in moved),
        seconds=time.monotonic() - started,
        trees=tuple(trees),
    )


class _Fetcher:
    """Fetches manifests, each digest once however many items share it."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._manifests: dict[Digest, Manifest] = {}
        self._lock = threading.Lock()

    def tree(self, item: CopyItem) -> Tree:
        """All manifests of an item."""

        def fetch(digest: Digest) -> Manifest:
            return self._fetch(item, digest)

        root = fetch(item.digest)
        return with_referrers(root, walk(root, item.platforms, fetch), item.referrers, fetch)

    def _fetch(self, item: CopyItem, digest: Digest) -> Manifest:
        with self._lock:
            found = self._manifests.get(digest)
        if found is None:
            found = self._known(digest) or item.source.manifest(item.source_repository, digest)
            with self._lock:
                self._manifests[digest] = found
        return found


def _routes(pairs: Sequence[tuple[CopyItem, Tree]], whole: Sequence[bool]) -> list[BlobRoute]:
    """Each unique blob with all the places it can come from and must go to, largest first."""
    origins: dict[Descriptor, dict[tuple[int, str], tuple[Source, str]]] = {}
    targets: dict[Descriptor, dict[str, None]] = {}
    holders: dict[Descriptor, str] = {}
    for (item, tree), there in zip(pairs, whole, strict=True):
        for blob in tree.blobs:
            origins.setdefault(blob, {})[(id(item.source), item.source_repository)] = (
                item.source,
                item.source_repository,
            )
            wanted = targets.setdefault(blob, {})
            if there:
                holders.setdefault(blob, item.sink_repository)
            else:
                wanted.setdefault(item.sink_repository)
    routes = [
        BlobRoute(blob, tuple(origins[blob].values()), tuple(wanted), holders.get(blob, ""))
        for blob, wanted in targets.items()
    ]
    return sorted(routes, key=lambda route: (-route.blob.size, route.blob.digest))


def _is_whole(item: CopyItem, tree: Tree, sink: Sink) -> bool:
    """Whether the sink holds the item already, as far as its manifests tell."""
    return all(sink.has_manifest(item.sink_repository, manifest.digest) for manifest in tree.everything)


def _publish(item: CopyItem, tree: Tree, sink: Sink) -> None:
    for manifest in tree.everything:
        if not sink.has_manifest(item.sink_repository, manifest.digest):
            sink.put_manifest(item.sink_repository, manifest)
    for tag in item.tags:
        sink.put_manifest(item.sink_repository, tree.root, tag)
