"""What a rehearsal found. Only values and their shapes for machines."""

from typing import Any

import msgspec


class Failure(msgspec.Struct, frozen=True, order=True):
    """Something that could not be pulled or fetched inside, and what its own client said."""

    name: str
    why: str


class Egress(msgspec.Struct, frozen=True, order=True):
    """An attempt to leave: where to, by which image and which of its processes, how often.

    `proto` is tcp, udp, icmp, or dns where a name was asked for and nothing was sent to it. `decision` is what
    isthmus.yaml says about it; an empty one is open.
    """

    to: str
    port: int
    proto: str
    image: str
    process: str = ""
    count: int = 1
    decision: str = ""

    @property
    def target(self) -> str:
        """Where to, for people: with the port, where there is one."""
        host = f"[{self.to}]" if ":" in self.to and self.port else self.to
        return f"{host}:{self.port}" if self.port else host

    @property
    def by(self) -> str:
        """Image and process in one."""
        return f"{self.image} ({self.process})" if self.process else self.image


class RehearsalResult(msgspec.Struct, frozen=True):
    """`pulled` counts images, `fetched` the other things, `started` the entry points that were tried.

    `on_cluster` says that a cluster's own nodes pulled, which knows nothing of files and of ways out.
    """

    pulled: int = 0
    fetched: int = 0
    started: int = 0
    failed: tuple[Failure, ...] = ()
    egress: tuple[Egress, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    on_cluster: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything came, and nothing undecided wanted to leave."""
        return not self.failed and all(row.decision for row in self.egress)

    def document(self) -> dict[str, Any]:
        """The shape of the contract."""
        return {
            "pulled": self.pulled,
            "fetched": self.fetched,
            "started": self.started,
            "failed": [{"name": item.name, "why": item.why} for item in self.failed],
            "egress": [
                {
                    "to": row.to,
                    "port": row.port,
                    "proto": row.proto,
                    "by": row.by,
                    "count": row.count,
                    "image": row.image,
                    "process": row.process,
                    "decision": row.decision or None,
                }
                for row in self.egress
            ],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }
