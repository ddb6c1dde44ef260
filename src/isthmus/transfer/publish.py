"""Publishes manifests once their blobs are there: children before indexes, tags after everything.

So a reader of the sink never sees an incomplete image, nor a new tag beside an old one that it belongs to
before all of them can be had. Not here: blobs (`blob`).
"""

from collections.abc import Sequence

import msgspec

from isthmus.errors import UnreachableError
from isthmus.oci import Digest, Sink
from isthmus.transfer.plan import CopyItem, ItemPlan
from isthmus.transfer.pool import StopFlag, run_all
from isthmus.transfer.shelf import Shelf

_REFUSED = frozenset({400, 404})


class _Task(msgspec.Struct, frozen=True):
    item: CopyItem
    plan: ItemPlan
    digest: Digest
    tag: str = ""


def publish(
    items: Sequence[CopyItem], plans: Sequence[ItemPlan], shelf: Shelf, sink: Sink, jobs: int, stop: StopFlag
) -> None:
    """Put every manifest that the sink lacks, then the tags.

    Raises UnreachableError (`sparse-index`, with all references that it holds for) where a registry takes no
    index without all of its children.
    """
    levels, tags = _tasks(items, plans)
    refused: list[_Task] = []

    def put(task: _Task) -> None:
        try:
            sink.put_manifest(task.item.sink_repository, shelf.get(task.digest), task.tag)
        except UnreachableError as error:
            if not task.plan.missing_children or error.http_status not in _REFUSED:
                raise
            if not shelf.get(task.digest).is_index:
                raise
            refused.append(task)

    for _, tasks in sorted(levels.items()):
        run_all(put, tasks, jobs, stop)
    if refused:
        raise _sparse_refused(refused)
    run_all(put, tags, jobs, stop)
    if refused:
        raise _sparse_refused(refused)


def _tasks(items: Sequence[CopyItem], plans: Sequence[ItemPlan]) -> tuple[dict[int, list[_Task]], list[_Task]]:
    """By height what goes without a tag, each once a repository; and what goes with one."""
    levels: dict[int, list[_Task]] = {}
    tags: list[_Task] = []
    done: set[tuple[str, Digest]] = set()
    for item, plan in zip(items, plans, strict=True):
        if plan.settled:
            continue
        for digest, height in plan.heights:
            key = (item.sink_repository, digest)
            # A root that its tag will bring needs no request of its own, unless it may be refused: that is
            # better known before any tag goes.
            by_tag = digest == plan.root.digest and item.tags and not plan.tagged and not plan.missing_children
            if digest in plan.present or by_tag or key in done:
                continue
            done.add(key)
            levels.setdefault(height, []).append(_Task(item, plan, digest))
        if not plan.tagged:
            tags += [_Task(item, plan, plan.root.digest, tag) for tag in item.tags]
    return levels, tags


def _sparse_refused(tasks: Sequence[_Task]) -> UnreachableError:
    names = sorted({task.item.name for task in tasks})
    first = tasks[0]
    return UnreachableError(
        "sparse-index",
        f"the registry takes no index of which it lacks a child, and {len(names)} are carried in part "
        f"({len(first.plan.missing_children)} children of {names[0]} are not carried)",
        where=first.item.sink_repository,
        hint="lock and carry all platforms (no --platform), or put the one image that is carried under the tag "
        "with --single-platform, which changes the digest that the tag stands for",
        items=names,
    )
