"""The lock against what is held. Only values; whether blobs are whole is for `isthmus check`."""

from dataclasses import dataclass

from isthmus.serve.console.components import components_of
from isthmus.serve.console.gate import Viewer
from isthmus.serve.console.holdings import Snapshot
from isthmus.serve.console.state import repository_of


@dataclass(frozen=True)
class Locked:
    """One entry of the lock. `state` is held, missing, or changed where another digest is held by its name."""

    name: str
    stored_name: str
    kind: str
    state: str
    digest: str
    size: int
    components: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """The lock against what is held; `extra` counts names that no lock asks for."""

    entries: tuple[Locked, ...]
    held: int
    extra: int

    @property
    def lacking(self) -> int:
        """How many are missing or changed."""
        return len(self.entries) - self.held

    @property
    def share(self) -> float:
        """Percent held, 100 only where nothing is lacking."""
        if not self.lacking:
            return 100.0
        return min(99.9, round(self.held / len(self.entries) * 100, 1))


def coverage(snapshot: Snapshot, viewer: Viewer) -> Coverage | None:
    """None where there is no lock. What lacks comes first."""
    if snapshot.lock is None:
        return None
    entries, asked = [], set()
    for entry in snapshot.lock.references:
        name = entry.stored_name
        asked.add(name)
        if not viewer.sees_all and not viewer.may_see(repository_of(name)):
            continue
        row = snapshot.by_name.get(name) or snapshot.by_name.get(f"{name}@{entry.digest}")
        asked.add(row.name if row else name)
        state = "missing" if row is None else "held" if row.descriptor.digest == entry.digest else "changed"
        entries.append(
            Locked(entry.name, name, entry.kind, state, entry.digest, entry.size, components_of(entry.evidence))
        )
    entries.sort(key=lambda one: (one.state == "held", one.kind, one.name))
    held = sum(one.state == "held" for one in entries)
    extra = sum(row.name not in asked for row in snapshot.rows if viewer.may_see(row.repository))
    return Coverage(tuple(entries), held, extra)
