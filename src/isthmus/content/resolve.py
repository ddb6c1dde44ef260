"""From references that are not in a registry to lock entries, several at a time; failures are listed, not raised.

Not here: how each kind is resolved (`files`, `charts`, `git`, `debian`, `rpm`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from isthmus.content import artifact
from isthmus.content.charts import lock_chart
from isthmus.content.debian import lock_debian
from isthmus.content.files import lock_file
from isthmus.content.git import lock_git
from isthmus.content.rpm import lock_rpm
from isthmus.content.times import as_text, now_or_epoch, seconds_since
from isthmus.content.web import Web
from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.config import Addition
from isthmus.inventory.lock import Lock, LockEntry
from isthmus.inventory.model import Kind, Ref
from isthmus.inventory.perishables import policy_of
from isthmus.progress import Meter, Progress, silent
from isthmus.store import Store

Key = tuple[str, str]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Unresolved(msgspec.Struct, frozen=True):
    """A reference that could not be resolved, and the error that says why."""

    reference: Ref
    error: IsthmusError


class Resolved(msgspec.Struct, frozen=True):
    """What could be resolved, sorted, and what could not."""

    entries: tuple[LockEntry, ...]
    failures: tuple[Unresolved, ...]


@dataclass(frozen=True)
class Workshop:
    """What every kind of reference needs to be resolved.

    `cache` is a directory for what makes the next time quicker. `old` is the lock that is replaced; with
    `trust_anew`, what it says of files counts no more.
    """

    store: Store
    web: Web
    cache: Path
    additions: Mapping[Key, Addition] = field(default_factory=dict)
    old: Lock = field(default_factory=Lock)
    trust_anew: bool = False

    def addition(self, ref: Ref) -> Addition:
        """What isthmus.yaml says of a reference; nothing where the scan found it."""
        return self.additions.get(ref.key) or Addition()

    def former(self, ref: Ref) -> LockEntry | None:
        """The old lock's entry."""
        if self.trust_anew:
            return None
        return next((entry for entry in self.old.references if entry.key == ref.key), None)


def resolve_things(
    references: Sequence[Ref], shop: Workshop, jobs: int = 4, progress: Progress = silent
) -> Resolved:
    """Every reference that is not in a registry. What was fetched for it is in the store, and named there."""
    wanted = [ref for ref in references if not ref.in_registry]
    meter = Meter(len(wanted), progress)

    def one(ref: Ref) -> LockEntry | Unresolved:
        try:
            return _resolve(ref, shop)
        except IsthmusError as error:
            return Unresolved(ref, error)
        finally:
            meter.add(1, ref.name)

    with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="isthmus-things") as pool:
        answers = list(pool.map(one, wanted))
    entries = sorted((a for a in answers if isinstance(a, LockEntry)), key=lambda entry: entry.key)
    failures = [answer for answer in answers if isinstance(answer, Unresolved)]
    good, clashing = _without_clashes(entries, {ref.key: ref for ref in wanted})
    name_complete(shop.store, good)
    return Resolved(tuple(good), (*failures, *clashing))


def _resolve(ref: Ref, shop: Workshop) -> LockEntry:
    addition, age = shop.addition(ref), max_age_of(ref.kind, ref.name, shop.addition(ref))
    if ref.kind == "file":
        return lock_file(ref, addition, shop.store, shop.web, shop.former(ref), age)
    if ref.kind == "chart":
        return lock_chart(ref, addition, shop.store, shop.web)
    if ref.kind == "git":
        return lock_git(ref, addition, shop.store, shop.web, shop.cache, age, shop.former(ref))
    packages = addition.packages
    if packages is None:
        raise UsageError("unresolved", "only isthmus.yaml can say which packages", where=ref.name)
    if packages.rpm:
        return lock_rpm(ref, packages, addition.serve, shop.store, shop.web, age)
    return lock_debian(ref, packages, addition.serve, shop.store, shop.web, age)


def max_age_of(kind: Kind, name: str, addition: Addition) -> int:
    """Seconds that a thing may become old: as isthmus.yaml says, or as is known of it; 0 for what does not age."""
    if addition.refresh:
        return int(addition.refresh[:-1]) * _UNITS[addition.refresh[-1]]
    policy = policy_of(kind, name)
    return policy.max_age if policy else 0


def aged(
    entries: Iterable[LockEntry], additions: Mapping[Key, Addition], old: Lock,
    made: Callable[[LockEntry], str], now: datetime | None = None,
) -> tuple[LockEntry, ...]:  # fmt: skip
    """Entries of registries with their maximum age, and when they were made.

    `made` tells what the publisher says, RFC 3339, or nothing: then it is the time at which a lock first had
    this digest.
    """
    before = {entry.key: entry for entry in old.references}
    moment = as_text(now or now_or_epoch())
    found = []
    for entry in entries:
        age = max_age_of(entry.kind, entry.name, additions.get(entry.key) or Addition())
        if entry.in_registry and age:
            former = before.get(entry.key)
            same = former.created if former is not None and former.digest == entry.digest else ""
            entry = msgspec.structs.replace(entry, max_age=age, created=made(entry) or same or moment)
        found.append(entry)
    return tuple(found)


def with_checked(
    entries: Iterable[LockEntry], old: Lock, now: datetime | None = None, *, renew: bool = False
) -> tuple[LockEntry, ...]:
    """What becomes stale, with the time at which it was the newest.

    Without `renew`, a time of the former lock stays for a tenth of the greatest age, so that a lock that is made
    again is the same.
    """
    before = {entry.key: entry for entry in old.references}
    moment = now or now_or_epoch()
    found = []
    for entry in entries:
        if entry.max_age:
            former = before.get(entry.key)
            same = former.checked if former is not None and former.digest == entry.digest and not renew else ""
            age = seconds_since(same, moment) if same else None
            is_recent = age is not None and age <= entry.max_age / 10
            entry = msgspec.structs.replace(entry, checked=same if is_recent else as_text(moment))
        found.append(entry)
    return tuple(found)


def name_complete(store: Store, entries: Iterable[LockEntry]) -> None:
    """Write the manifests of entries whose bytes are all there, and name them, so that nothing collects them."""
    whole = [
        entry for entry in entries if all(store.blob_size(part.digest) == part.size for part in entry.contents)
    ]
    artifact.name_all(store, [artifact.put(store, entry) for entry in whole])


def _without_clashes(
    entries: Sequence[LockEntry], refs: Mapping[Key, Ref]
) -> tuple[list[LockEntry], list[Unresolved]]:
    """Two things cannot have one name in the store, nor one path on the file server."""
    taken: dict[str, tuple[str, LockEntry]] = {}
    good, bad = [], []
    for entry in entries:
        places = dict(_places(entry))
        other = next(
            (taken[place][1] for place, what in places.items() if taken.get(place, (what,))[0] != what), None
        )
        if other is None:
            taken.update({place: (what, entry) for place, what in places.items()})
            good.append(entry)
            continue
        error = UsageError(
            "mapping-collision", f"{other.name} would be in the same place", where=entry.name,
            hint="give one of them another path, with serve under platform.add",
        )  # fmt: skip
        bad.append(Unresolved(refs[entry.key], error))
    return good, bad


def _places(entry: LockEntry) -> Iterator[tuple[str, str]]:
    """Every name and path that an entry takes, and what is there; trees may have directories in common."""
    yield entry.reference, entry.digest
    if entry.serve:
        for part in entry.contents:
            yield f"/{entry.serve}" if entry.kind == "file" else f"/{entry.serve}/{part.path}", part.digest
