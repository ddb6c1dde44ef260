"""The copy engine: resolve a lock, pull it into a store, push it to a registry, mirror between registries.

Not here: how a registry is spoken to (`registry`) or how a layout is kept (`store`).
"""

from typing import TYPE_CHECKING

from isthmus.late import names_of

if TYPE_CHECKING:
    from isthmus.transfer.engine import copy
    from isthmus.transfer.jobs import mirror, pull, push
    from isthmus.transfer.memory import Memory
    from isthmus.transfer.plan import CopyItem
    from isthmus.transfer.resolving import Failure, Resolution, resolve
    from isthmus.transfer.result import CopyResult
    from isthmus.transfer.shard import FINISH, Shard
    from isthmus.transfer.survey import RegistrySurvey
    from isthmus.transfer.upstreams import Upstreams

_HOME = {
    "CopyResult": "isthmus.transfer.result",
    "copy": "isthmus.transfer.engine",
    "mirror": "isthmus.transfer.jobs",
    "pull": "isthmus.transfer.jobs",
    "push": "isthmus.transfer.jobs",
    "Memory": "isthmus.transfer.memory",
    "CopyItem": "isthmus.transfer.plan",
    "Failure": "isthmus.transfer.resolving",
    "Resolution": "isthmus.transfer.resolving",
    "resolve": "isthmus.transfer.resolving",
    "FINISH": "isthmus.transfer.shard",
    "Shard": "isthmus.transfer.shard",
    "RegistrySurvey": "isthmus.transfer.survey",
    "Upstreams": "isthmus.transfer.upstreams",
}
"""Imported when first asked for: a command that finds nothing to do needs little of this room."""

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

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__, globals(), _HOME)
