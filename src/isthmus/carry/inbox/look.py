"""One look at an incoming directory: what is asked of bundles, what lies there, and what becomes of it.

Not here: finding out what files are (`plain`, `sealed`), and remembering (`watching`).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from isthmus.bundle import Policy, Problem, PublicKey
from isthmus.bundle.demands import NOTHING, Demands
from isthmus.bundle.medium import failed
from isthmus.carry.inbox.remembered import Done, Waiting
from isthmus.errors import IsthmusError
from isthmus.progress import Progress

QUARANTINE: Final = "quarantine"
WAITS: Final = frozenset({"baseline-missing", "not-approved"})
"""Nothing is wrong with such volumes: another bundle, or a signature, must come first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked of bundles and done with them. Without a `store` they are only verified.

    A file that changed less than `settle` seconds ago is not looked at yet. With `remove_taken`, volumes
    are removed once their bundle is in the store and that has been noted. `documents` is told of each bundle that
    is in the store, and of its volumes, at every look: what lies beside them may arrive later. `identities` open
    encrypted volumes (`bundle.encryption`).
    """

    store: Path | None = None
    keys: tuple[PublicKey, ...] = ()
    policy: Policy | None = None
    demands: Demands = NOTHING
    settle: float = 5.0
    remove_taken: bool = False
    documents: Callable[[str, Sequence[Path]], None] | None = None
    identities: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that was moved away."""

    file: str
    code: str
    why: str


@dataclass(slots=True)
class Sweep:
    """What one look found. `taken` bundles are new, `known` ones were taken before; `unsettled` still arrive.

    `trouble` is what ended it early, where that may pass."""

    taken: list[Done] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    incomplete: list[Waiting] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """The directory, what is asked, and what is found."""

    directory: Path
    settings: Settings
    found: Sweep
    progress: Progress

    @property
    def store(self) -> str:
        """The store as it is remembered; empty where there is none."""
        return str(self.settings.store.absolute()) if self.settings.store else ""

    def name(self, path: Path) -> str:
        """How a file is called in what is said and remembered."""
        return str(path.relative_to(self.directory))

    def quarantine(self, path: Path, error: Problem | IsthmusError) -> None:
        """Move a file away, under a name that is free, with the reason beside it. Raises `io-failed`."""
        place = self.directory / QUARANTINE
        try:
            place.mkdir(exist_ok=True)
            target, number = place / path.name, 1
            while target.exists():
                number += 1
                target = place / f"{path.stem}-{number}{path.suffix}"
            target.with_name(f"{target.name}.why.txt").write_text(f"{error.code}: {error.message}\n", "utf-8")
            os.rename(path, target)
        except OSError as failure:
            raise failed(failure, path) from failure
        self.found.quarantined.append(Quarantined(self.name(path), error.code, error.message))


@dataclass(frozen=True, slots=True)
class Arrived:
    """The volumes of one bundle that are here, remembered under `key`.

    `take` verifies and unpacks them: the bundle's name, what it waits for, or None where that is said already.
    """

    key: str
    bundle: str
    paths: tuple[Path, ...]
    take: Callable[[], str | Waiting | None]
