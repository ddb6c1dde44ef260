"""Gathers what `report` shows: coverage, ages, bundles, decisions. Not here: the page (`report.platform`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from isthmus.cli.command import Run
from isthmus.cli.siting import site_registry
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import Lock, read_lock

if TYPE_CHECKING:
    from isthmus.check import CheckResult
    from isthmus.content.freshness import Age
    from isthmus.report.platform import Known
    from isthmus.report.platform.model import Crossing, Open, Rehearsed

_MAX_FILE = 256 << 20


@dataclass(frozen=True)
class Asked:
    """The files and directories that the command line names."""

    store: Path | None
    inventory: Path | None
    rehearsal: Path | None
    previous: Path | None
    bundles: tuple[Path, ...]
    keys: tuple[Path, ...]


@dataclass(frozen=True)
class Site:
    """The options about the site's registry; without one, no registry is asked."""

    registry: str | None
    mapping: str | None
    prefix: str | None
    jobs: int
    ca: Path | None
    insecure: bool
    plain_http: bool


def known(run: Run, lock: Lock, lock_path: Path, asked: Asked, site: Site) -> "Known":
    """All that is known beside the lock."""
    from isthmus.cli.checking import read_inventory
    from isthmus.report.platform import Known
    from isthmus.report.platform.make import words

    store = store_of(run, asked.store)
    result, checked = _coverage(run, lock, store, site)
    return Known(
        config=run.config(),
        inventory=read_inventory(asked.inventory) if asked.inventory else None,
        checked=checked,
        size=_size(lock, store),
        missing=words([(each.name, each.why) for each in result.missing]) if result else {},
        stale=words([(each.name, each.why) for each in result.stale]) if result else {},
        ages=_ages(store),
        crossings=_crossings(store, asked),
        rehearsal=read_rehearsal(asked.rehearsal) if asked.rehearsal else None,
        previous=read_lock(asked.previous) if asked.previous else None,
        waiting=waiting(run, lock, lock_path),
    )


def store_of(run: Run, given: Path | None) -> Path | None:
    """The store that was named, or the workspace's, where there is one."""
    if given is not None:
        return given
    return run.store_path if run.store_path.is_dir() else None


def read_rehearsal(path: Path) -> "Rehearsed":
    """What `rehearse --out FILE.json` wrote. Raises UsageError `file-not-found`, `invalid-input`."""
    from isthmus.report.platform.model import Rehearsed

    document = _json(path)
    try:
        rows = document.get("egress", ())
        for row in rows:
            row["decision"] = row.get("decision") or ""
        return msgspec.convert(document, Rehearsed)
    except (msgspec.ValidationError, AttributeError, TypeError) as error:
        raise UsageError("invalid-input", f"no rehearsal: {str(error)[:200]}", where=str(path)) from error


def vex_documents(run: Run, lock: Lock, store: Path | None, given: tuple[Path, ...]) -> list[dict[str, Any]]:
    """OpenVEX of the store's images and of the files that were named."""
    from isthmus.report.platform.vex import carried, read_document
    from isthmus.store import Store

    documents = []
    where = store_of(run, store)
    if where is not None:
        with Store.open(where) as held:
            documents = carried(lock.references, held)
    return [*documents, *(read_document(_read(path), str(path)) for path in given)]


def _coverage(run: Run, lock: Lock, store: Path | None, site: Site) -> "tuple[CheckResult | None, str]":
    from isthmus.check import check, check_store
    from isthmus.cli.connecting import connection_options, host_options
    from isthmus.cli.targets import stand_ins
    from isthmus.registry import connect
    from isthmus.store import Store

    if site.registry is not None:
        found = site_registry(run.config(), site.registry, site.mapping, site.prefix)
        trusted = site.ca or (Path(found.ca) if found.ca else None)
        is_plain = site.plain_http or found.url.startswith("http://")
        options = connection_options(trusted, site.insecure, is_plain, max(site.jobs, 8))
        with connect(found.host, host_options(options, run.config(), found.host)) as registry:
            known = stand_ins(run, found.host)
            result = check(lock.references, registry, found.mapping, max(site.jobs, 8), stand_ins=known)
        return result, f"by asking the registry {found.host} for every manifest, by digest"
    if store is None:
        return None, ""
    with Store.open(store) as held:
        return check_store(lock.references, held), "by looking into the store for every manifest and blob"


def _size(lock: Lock, store: Path | None) -> int | None:
    """Every blob of the lock once, where the store has all manifests."""
    from isthmus.check import CheckResult, Finding
    from isthmus.check.upgrade import upgrade
    from isthmus.store import Store

    if store is None:
        return None
    everything = CheckResult(0, tuple(Finding(entry.name, "") for entry in lock.references))
    with Store.open(store) as held:
        found = upgrade(lock.references, everything, lambda _, __: False, held)
    return found.bytes if found.exact else None


def _ages(store: Path | None) -> "tuple[Age, ...]":
    from isthmus.content.freshness import ages
    from isthmus.content.times import now_or_epoch
    from isthmus.store import Store

    if store is None:
        return ()
    with Store.open(store) as held:
        return ages(held, now_or_epoch())


def _crossings(store: Path | None, asked: Asked) -> "tuple[Crossing, ...]":
    from isthmus.bundle import load_public_key
    from isthmus.bundle.history import received_bundles
    from isthmus.report.platform.crossings import crossings

    absent = next((path for path in asked.bundles if not path.exists()), None)
    if absent is not None:
        raise UsageError("file-not-found", "there is no such file or directory", where=str(absent))
    received = received_bundles(store) if store is not None else ()
    kept = (store / "reports",) if store is not None else ()
    return crossings(received, asked.bundles, [load_public_key(path) for path in asked.keys], kept)


def waiting(run: Run, lock: Lock, lock_path: Path) -> "tuple[Open, ...]":
    """What `configure` waits for, where isthmus.yaml describes a site."""
    from isthmus.report.platform.model import Evidence, Open

    config = run.config()
    if config is None or not config.site.registry.host or not lock.references:
        return ()
    from isthmus.cli.configure import site_of
    from isthmus.site.parts import configure_parts

    try:
        parts = configure_parts(site_of(run, lock_path))
    except UsageError as error:
        where = Evidence(str(run.file or "isthmus.yaml"))
        return (Open("site-decision", "configure", error.message, error.hint, (where,)),)
    return tuple(
        Open(
            "site-decision",
            decision.key,
            decision.why,
            decision.hint,
            (Evidence(decision.file, "", decision.key),),
        )
        for part in parts.values()
        for decision in part.decisions
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such file", where=str(path)) from error
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > _MAX_FILE:
        raise UsageError("invalid-input", f"it is larger than {_MAX_FILE >> 20} MiB", where=str(path))
    return data


def _json(path: Path) -> Any:
    try:
        return msgspec.json.decode(_read(path))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("invalid-input", f"not JSON: {str(error)[:200]}", where=str(path)) from error
