"""The copy engine: resolve a lock, pull it into a store, push it to a registry, mirror between registries.

Not here: how a registry is spoken to (`registry`) or how a layout is kept (`store`).
"""

from isthmus.transfer.engine import CopyResult, copy
from isthmus.transfer.jobs import mirror, pull, push
from isthmus.transfer.memory import Memory
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.resolve import Failure, Resolution, resolve
from isthmus.transfer.shard import FINISH, Shard
from isthmus.transfer.survey import RegistrySurvey
from isthmus.transfer.upstreams import Upstreams

__all__ = [
    "FINISH",
    "CopyItem",
    "CopyResult",
    "Failure",
    "Memory",
    "RegistrySurvey",
    "Resolution",
    "Shard",
    "Upstreams",
    "copy",
    "mirror",
    "pull",
    "push",
    "resolve",
]
