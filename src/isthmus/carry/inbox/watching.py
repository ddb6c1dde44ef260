"""Looking at an incoming directory: which bundles are complete, which wait for volumes, what is damaged.

A file counts once it has been left alone for a while. What fails verification is moved to `quarantine/`, with
the reason beside it. Not here: verifying and unpacking themselves (`isthmus.bundle`).
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from isthmus.bundle import Policy, Problem, PublicKey, unpack, verify
from isthmus.bundle.demands import NOTHING, Demands
from isthmus.bundle.locking import exclusive
from isthmus.bundle.medium import failed
from isthmus.bundle.volume import Inspection, KnownContents, inspect
from isthmus.carry.inbox.remembered import Done, Remembered, Waiting, load, save
from isthmus.errors import IncompleteError, IsthmusError, UnreachableError, UsageError, VerificationError
from isthmus.progress import Progress, silent

QUARANTINE: Final = "quarantine"
_SUFFIX: Final = ".isv"
_LOCK: Final = ".isthmus-receive.lock"
_AGAIN: Final = 60.0
"""Seconds after which a bundle that waits for something else than volumes is tried again."""
_WAITS: Final = frozenset({"baseline-missing", "not-approved"})
"""Nothing is wrong with such volumes: another bundle, or a signature, must come first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked of bundles and done with them. Without a `store` they are only verified.

    A file that changed less than `settle` seconds ago is not looked at yet. With `remove_taken`, volumes
    are removed once their bundle is in the store and that has been noted. `documents` is told of each bundle that
    is in the store, and of its volumes, at every look: what lies beside them may arrive later.
    """

    store: Path | None = None
    keys: tuple[PublicKey, ...] = ()
    policy: Policy | None = None
    demands: Demands = NOTHING
    settle: float = 5.0
    remove_taken: bool = False
    documents: Callable[[str, Sequence[Path]], None] | None = None


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


def sweep(directory: Path, settings: Settings, progress: Progress = silent) -> Sweep:
    """Look once. Raises UsageError `file-not-found`, `store-busy`, UnreachableError `io-failed`."""
    if not directory.is_dir():
        raise UsageError("file-not-found", "there is no such directory", where=str(directory))
    with exclusive(directory, "another process watches this directory", _LOCK):
        found = Sweep()
        files = _volumes(directory, settings.settle, found)
        identities = {name: _identity(path) for name, path in files.items()}
        for bundle, inspections in sorted(_by_bundle(files, directory, found).items()):
            names = sorted(str(one.path.relative_to(directory)) for one in inspections)
            here = {name: identities[name] for name in names}
            _look(bundle, inspections, here, settings, directory, found, progress)
        return found


def watch(
    directory: Path,
    settings: Settings,
    tell: Callable[[Sweep], None],
    *,
    every: float = 5.0,
    stop: threading.Event | None = None,
    progress: Progress = silent,
) -> None:
    """Look every so many seconds until `stop`; `tell` gets each look. A full disk may pass.

    Raises UsageError as `sweep` does.
    """
    stopped = stop or threading.Event()
    while not stopped.is_set():
        try:
            tell(sweep(directory, settings, progress))
        except UnreachableError as error:
            tell(Sweep(trouble=str(error)))
        stopped.wait(every)


def _look(
    bundle: str,
    inspections: Sequence[Inspection],
    here: dict[str, str],
    settings: Settings,
    directory: Path,
    found: Sweep,
    progress: Progress,
) -> None:
    """Look at one bundle, unless the same files were looked at before."""
    remembered = load(directory)
    store = str(settings.store.absolute()) if settings.store else ""
    done, waited = remembered.done.get(bundle), remembered.waiting.get(bundle)
    if done and done.store == store and all(done.files.get(name) == here[name] for name in here):
        found.known.append(bundle)
        _documents(bundle, here, settings, directory)
        if settings.remove_taken and settings.store is not None:
            _remove(directory, here)  # a run that was killed had no time to
        return
    fresh = waited is not None and (not waited.why or 0 <= time.time() - waited.at < _AGAIN)
    if waited is not None and fresh and waited.store == store and waited.files == here:
        found.incomplete.append(waited)
        return
    result = _take(bundle, inspections, settings, directory, found, progress)
    waiting = {key: value for key, value in remembered.waiting.items() if key != bundle}
    if isinstance(result, Waiting):
        result = msgspec.structs.replace(result, files=here, store=store, at=round(time.time(), 1))
        found.incomplete.append(result)
        save(directory, Remembered(remembered.done, {**waiting, bundle: result}))
    elif result is not None:
        note = Done(bundle, result, here, store, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        found.taken.append(note)
        save(directory, Remembered({**remembered.done, bundle: note}, waiting))
        _documents(bundle, here, settings, directory)
        if settings.remove_taken and settings.store is not None:
            _remove(directory, here)


def _documents(bundle: str, here: Mapping[str, str], settings: Settings, directory: Path) -> None:
    if settings.store is not None and settings.documents is not None:
        settings.documents(bundle, [directory / name for name in here])


def _take(
    bundle: str,
    inspections: Sequence[Inspection],
    settings: Settings,
    directory: Path,
    found: Sweep,
    progress: Progress,
) -> str | Waiting | None:
    """Verify a bundle's volumes and unpack them: its name, what it waits for, or None where all is quarantined."""
    paths = [one.path for one in inspections]
    contents = next(one.contents for one in inspections if one.contents)
    name = contents.manifest.name
    checked = verify(paths, settings.keys, progress)
    missing = tuple(volume.file for volume in checked.missing)
    volumes = {str(path) for path in paths}
    damaged = [problem for problem in checked.damaged if problem.file in volumes]
    if damaged and not checked.repairable:
        for problem in damaged:
            _quarantine(directory, problem, found)
        lost = tuple(Path(problem.file).name for problem in damaged)
        return Waiting(bundle, name, tuple(sorted({*missing, *lost})))
    if not checked.complete and not checked.repairable and missing:
        return Waiting(bundle, name, missing)
    if settings.store is None:
        return name
    try:
        unpack(
            paths, settings.store, settings.keys, progress, policy=settings.policy, demands=settings.demands,
            durable=True,
        )  # fmt: skip
    except IncompleteError as error:
        return Waiting(bundle, name, missing, error.message)
    except VerificationError as error:
        if error.code in _WAITS:
            return Waiting(bundle, name, missing, error.message)
        for path in paths:
            _quarantine(directory, Problem(None, str(path), error.code, error.message, ()), found)
        return None
    return name


def _volumes(directory: Path, settle: float, found: Sweep) -> dict[str, Path]:
    """Plain files that are volumes by name and no longer change, also one directory further down."""
    result = {}
    now = time.time()
    try:
        places = [directory, *(Path(one) for one in os.scandir(directory) if _is_inner(one))]
        for place in sorted(places):
            for entry in sorted(os.scandir(place), key=lambda one: one.name):
                if not entry.name.endswith(_SUFFIX) or not entry.is_file(follow_symlinks=False):
                    continue
                path = Path(entry.path)
                name = str(path.relative_to(directory))
                age = now - entry.stat(follow_symlinks=False).st_mtime
                # A copy that keeps times looks old at once, but its name only changes hands by the end.
                changed = now - entry.stat(follow_symlinks=False).st_ctime
                if 0 <= min(age, changed) < settle:
                    found.unsettled.append(name)
                else:
                    result[name] = path
    except OSError as error:
        raise failed(error, directory) from error
    return result


def _is_inner(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False) and entry.name != QUARANTINE and not entry.name.startswith(".")


def _by_bundle(files: dict[str, Path], directory: Path, found: Sweep) -> dict[str, list[Inspection]]:
    """Volumes by the bundle that they belong to; whatever does not say so goes to quarantine."""
    known = KnownContents()
    result: dict[str, list[Inspection]] = {}
    strays: list[Inspection] = []
    for path in files.values():
        try:
            one = inspect(path, known)
        except IsthmusError as error:
            one = Inspection(path, error=error)
        if one.header is not None:
            result.setdefault(one.header.bundle.hex(), []).append(one)
        else:
            strays.append(one)
    readable = {bundle: group for bundle, group in result.items() if any(one.contents for one in group)}
    strays += [one for bundle, group in result.items() if bundle not in readable for one in group]
    for one in strays:
        _stray(one, readable, directory, found)
    return readable


def _stray(one: Inspection, bundles: dict[str, list[Inspection]], directory: Path, found: Sweep) -> None:
    """A volume whose beginning is lost still has its name, and parity may make up for it."""
    for group in bundles.values():
        contents = next(other.contents for other in group if other.contents)
        count = len(contents.manifest.volumes)
        if one.path.name in {contents.manifest.file_name(number) for number in range(1, count + 1)}:
            group.append(one)
            return
    error = one.error
    code, why = (error.code, error.message) if error else ("damaged-volume", "it says nothing of what it holds")
    _quarantine(directory, Problem(None, str(one.path), code, why, ()), found)


def _quarantine(directory: Path, problem: Problem, found: Sweep) -> None:
    """Move a file away, under a name that is free, with the reason beside it."""
    source, place = Path(problem.file), directory / QUARANTINE
    try:
        place.mkdir(exist_ok=True)
        target, number = place / source.name, 1
        while target.exists():
            number += 1
            target = place / f"{source.stem}-{number}{source.suffix}"
        target.with_name(f"{target.name}.why.txt").write_text(f"{problem.code}: {problem.message}\n", "utf-8")
        os.rename(source, target)
    except OSError as error:
        raise failed(error, source) from error
    found.quarantined.append(Quarantined(str(source.relative_to(directory)), problem.code, problem.message))


def _remove(directory: Path, taken: dict[str, str]) -> None:
    """Remove the volumes that were taken, unless they have changed since."""
    for name, identity in taken.items():
        path = directory / name
        try:
            if _identity(path) == identity:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise failed(error, path) from error


def _identity(path: Path) -> str:
    with suppress(OSError):
        found = path.stat()
        return f"{found.st_size:x}-{found.st_mtime_ns:x}"
    return ""
