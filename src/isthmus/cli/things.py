"""How `lock`, `pull` and `refresh` come to what is not an image: connections, additions, and one result of both.

Not here: resolving and fetching (`content`).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.cli.command import Run
from isthmus.cli.connecting import host_options, parse_upstreams
from isthmus.errors import IsthmusError
from isthmus.inventory.lock import Lock, LockEntry
from isthmus.inventory.model import Ref
from isthmus.oci import Platform, Reference

if TYPE_CHECKING:
    from isthmus.content.pull import Pulled
    from isthmus.content.web import Web
    from isthmus.inventory.config import Addition, Config
    from isthmus.registry import ConnectionOptions
    from isthmus.store import Store
    from isthmus.transfer import Upstreams


@dataclass(frozen=True)
class Failed:
    """A reference that could not be resolved, and why."""

    reference: Ref
    error: IsthmusError


@dataclass(frozen=True)
class Everything:
    """What could be resolved, images and things, and what could not; `bytes` counts every blob once."""

    entries: tuple[LockEntry, ...]
    failures: tuple[Failed, ...]
    bytes: int


def connect_web(base: "ConnectionOptions", given: tuple[str, ...], config: "Config | None") -> "Web":
    """Reading by URL, each host as isthmus.yaml says that it is reached."""
    from isthmus.content.web import Web

    known = config.platform.registries if config else {}
    mirrors = {host: access.mirrors for host, access in known.items() if access.mirrors}
    return Web(lambda host: host_options(base, config, host), parse_upstreams(given, config), mirrors)


def additions(run: Run) -> "dict[tuple[str, str], Addition]":
    """What isthmus.yaml says of each thing that it adds."""
    from isthmus.inventory.settle import additions_by_name

    config = run.config()
    return additions_by_name(config.platform, str(run.file or "isthmus.yaml")) if config else {}


def resolve_everything(
    run: Run,
    wanted: Sequence[Ref],
    registries: "Upstreams",
    base: "ConnectionOptions",
    upstreams: tuple[str, ...],
    platforms: tuple[Platform, ...],
    jobs: int,
    old: Lock,
    *,
    trust_anew: bool = False,
    renew: bool = False,
) -> Everything:
    """Images by their registries, things by their addresses. What things needed to be read is in the store.

    With `renew`, what becomes stale was checked now, as the lock then says.
    """
    from isthmus.content.resolve import with_checked
    from isthmus.transfer import resolve

    known = additions(run)
    refs, unranged = _pinned(wanted, registries)
    with run.progress("lock", "items") as report:
        resolution = resolve(refs, registries, platforms, max(jobs, 8), report)
    failures = [*unranged, *(Failed(failure.reference, failure.error) for failure in resolution.failures)]
    entries = with_checked(_with_ages(resolution.entries, known, old, registries), old, renew=renew)
    size = resolution.bytes
    if any(not ref.in_registry for ref in refs) or any(entry.max_age for entry in entries):
        found = _things(run, refs, entries, base, upstreams, jobs, old, trust_anew=trust_anew, renew=renew)
        entries = (*entries, *found.entries)
        failures += found.failures
        size += found.bytes
    return Everything(tuple(sorted(entries, key=lambda entry: entry.key)), tuple(failures), size)


def pull_rest(
    run: Run,
    entries: Sequence[LockEntry],
    store: "Store",
    base: "ConnectionOptions",
    upstreams: tuple[str, ...],
    jobs: int,
) -> "Pulled | None":
    """Bring what is not in a registry into the store; None where all is, before much is loaded for it."""
    if all(entry.in_registry for entry in entries):
        return None
    from isthmus.content.pull import pull_things

    with (
        connect_web(base, upstreams, run.config()) as web,
        _locks_store(run, store) as other,
        run.progress("fetch") as report,
    ):
        return pull_things(entries, store, web, jobs, report, other)


def _locks_store(run: Run, store: "Store") -> "AbstractContextManager[Store | None]":
    """The store that `lock` put things into, where it is another one."""
    from isthmus.store import Store

    if run.store_path.absolute() == store.path.absolute() or not run.store_path.is_dir():
        return nullcontext(None)
    return Store.open(run.store_path)


def _pinned(wanted: Sequence[Ref], registries: "Upstreams") -> tuple[list[Ref], list[Failed]]:
    from isthmus.content.charts import pin_ranges

    def tags(reference: Reference) -> Sequence[str]:
        return registries.registry(reference).tags(reference.path)

    good: list[Ref] = []
    bad: list[Failed] = []
    for ref in wanted:
        try:
            good += pin_ranges([ref], tags)
        except IsthmusError as error:
            bad.append(Failed(ref, error))
    return good, bad


def _with_ages(
    entries: tuple[LockEntry, ...],
    known: "dict[tuple[str, str], Addition]",
    old: Lock,
    registries: "Upstreams",
) -> tuple[LockEntry, ...]:
    from isthmus.content.artifact import CREATED
    from isthmus.content.resolve import aged

    def made(entry: LockEntry) -> str:
        reference = Reference.parse(entry.stored_name)
        manifest = registries.registry(reference).manifest(reference.path, entry.digest)
        return manifest.annotations.get(CREATED, "")[:40]

    return aged(entries, known, old, made)


def _things(
    run: Run,
    refs: Sequence[Ref],
    entries: tuple[LockEntry, ...],
    base: "ConnectionOptions",
    upstreams: tuple[str, ...],
    jobs: int,
    old: Lock,
    *,
    trust_anew: bool,
    renew: bool,
) -> Everything:
    from isthmus.content.derived import derive
    from isthmus.content.resolve import Workshop, resolve_things, with_checked
    from isthmus.store import Store

    config = run.config()
    cache = Path(run.workspace) / "cache"
    with (
        Store.create(run.store_path) as store,
        connect_web(base, upstreams, config) as web,
        run.progress("fetch", "items") as report,
    ):
        shop = Workshop(store, web, cache, additions(run), old, trust_anew)
        resolved = resolve_things(refs, shop, jobs, report)
        own = with_checked(resolved.entries, old, renew=renew)
        derived = derive(store, web, (*entries, *own), config)
    found = (*own, *derived)
    sizes = {part.digest: part.size for entry in found for part in entry.contents}
    failures = tuple(Failed(failure.reference, failure.error) for failure in resolved.failures)
    return Everything(found, failures, sum(sizes.values()))
