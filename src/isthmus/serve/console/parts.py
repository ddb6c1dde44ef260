"""`Parts`: what the pages are made from, put together once. Only a value with what it takes to build it."""

from dataclasses import dataclass
from pathlib import Path

from isthmus.inventory.mapping import MirrorMap
from isthmus.serve.access import Access
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.console.gate import Gate
from isthmus.serve.console.holdings import Holdings
from isthmus.serve.console.rendering import Renderer
from isthmus.serve.disk import DiskWatch
from isthmus.serve.misses import Misses
from isthmus.serve.options import Listen
from isthmus.serve.pushes import Pushes
from isthmus.serve.shared import ALONE, Share
from isthmus.serve.surveying import Surveys
from isthmus.serve.users import Users


@dataclass(frozen=True)
class Parts:
    """The server's parts that the console reads, and its own."""

    catalogue: Catalogue
    misses: Misses
    mapping: MirrorMap
    pushes: Pushes | None
    holdings: Holdings
    disk: DiskWatch
    gate: Gate
    renderer: Renderer
    ca: Path | None
    lock: Path | None
    files_port: int
    share: Share = ALONE


def make_parts(
    catalogue: Catalogue,
    misses: Misses,
    mapping: MirrorMap,
    listen: Listen,
    disk: DiskWatch,
    surveys: Surveys,
    *,
    access: Access | None,
    users: Users | None,
    pushes: Pushes | None,
    share: Share = ALONE,
) -> Parts:
    """Put them together; nothing is read from the store yet."""
    return Parts(
        catalogue=catalogue,
        misses=misses,
        mapping=mapping,
        pushes=pushes,
        holdings=Holdings(catalogue, listen.lock, surveys),
        disk=disk,
        gate=Gate(access, users, shared=share.count > 1),
        renderer=Renderer(),
        ca=listen.ca,
        lock=listen.lock,
        files_port=listen.files[1] if listen.files else 0,
        share=share,
    )
