"""`Parts`: what the registry and the file server have in common. Only a value."""

from dataclasses import dataclass

from aiohttp import web

from isthmus.serve.access import Access
from isthmus.serve.audit import Audit
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.disk import DiskWatch
from isthmus.serve.metrics import Metrics
from isthmus.serve.misses import Misses


@dataclass(frozen=True)
class Parts:
    """One of each a process."""

    catalogue: Catalogue
    misses: Misses
    metrics: Metrics
    disk: DiskWatch
    audit: Audit | None
    access: Access | None


PARTS = web.AppKey("parts", Parts)
"""Where the registry's application keeps them."""
