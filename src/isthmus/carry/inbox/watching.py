"""Looking at an incoming directory: which bundles are complete, which wait for volumes, what is damaged.

A file counts once it has been left alone for a while. What fails verification is moved to `quarantine/`, with
the reason beside it. Not here: what the files of a bundle are and taking them (`plain`, `sealed`).
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from isthmus.bundle.locking import exclusive
from isthmus.bundle.medium import failed
from isthmus.carry.inbox.look import QUARANTINE, Arrived, Look, Settings, Sweep
from isthmus.carry.inbox.plain import plain_bundles
from isthmus.carry.inbox.remembered import Done, Remembered, Waiting, load, save
from isthmus.carry.inbox.sealed import SUFFIX as SEALED
from isthmus.carry.inbox.sealed import sealed_bundles
from isthmus.errors import UnreachableError, UsageError
from isthmus.progress import Progress, silent

_PLAIN: Final = ".isv"
_LOCK: Final = ".isthmus-receive.lock"
_AGAIN: Final = 60.0
"""Seconds after which a bundle that waits for something else than volumes is tried again."""


def sweep(directory: Path, settings: Settings, progress: Progress = silent) -> Sweep:
    """Look once. Raises UsageError `file-not-found`, `store-busy`, UnreachableError `io-failed`."""
    if not directory.is_dir():
        raise UsageError("file-not-found", "there is no such directory", where=str(directory))
    with exclusive(directory, "another process watches this directory", _LOCK):
        look = Look(directory, settings, Sweep(), progress)
        files = _volumes(look)
        identities = {name: _identity(path) for name, path in files.items()}
        plain = {name: path for name, path in files.items() if name.endswith(_PLAIN)}
        sealed = {name: path for name, path in files.items() if name not in plain}
        arrived = [*plain_bundles(plain, look), *sealed_bundles(sealed, identities, load(directory), look)]
        for one in sorted(arrived, key=lambda one: one.key):
            _look(one, {name: identities[name] for name in sorted(map(look.name, one.paths))}, look)
        return look.found


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


def _look(one: Arrived, here: Mapping[str, str], look: Look) -> None:
    """Look at one bundle, unless the same files were looked at before."""
    settings, found, directory = look.settings, look.found, look.directory
    remembered, store = load(directory), look.store
    done, waited = remembered.done.get(one.key), remembered.waiting.get(one.key)
    if done and done.store == store and all(done.files.get(name) == here[name] for name in here):
        found.known.append(one.bundle)
        _documents(one, here, look)
        if settings.remove_taken and settings.store is not None:
            _remove(directory, here)  # a run that was killed had no time to
        return
    fresh = waited is not None and (not waited.why or 0 <= time.time() - waited.at < _AGAIN)
    if waited is not None and fresh and waited.store == store and waited.files == here:
        found.incomplete.append(waited)
        return
    result = one.take()
    waiting = {key: value for key, value in remembered.waiting.items() if key != one.key}
    if isinstance(result, Waiting):
        result = msgspec.structs.replace(result, files=dict(here), store=store, at=round(time.time(), 1))
        found.incomplete.append(result)
        save(directory, Remembered(remembered.done, {**waiting, one.key: result}))
    elif result is not None:
        note = Done(one.bundle, result, dict(here), store, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        found.taken.append(note)
        save(directory, Remembered({**remembered.done, one.key: note}, waiting))
        _documents(one, here, look)
        if settings.remove_taken and settings.store is not None:
            _remove(directory, here)


def _documents(one: Arrived, here: Mapping[str, str], look: Look) -> None:
    if look.settings.store is not None and look.settings.documents is not None:
        look.settings.documents(one.bundle, [look.directory / name for name in here])


def _volumes(look: Look) -> dict[str, Path]:
    """Plain files that are volumes by name and no longer change, also one directory further down."""
    result = {}
    now = time.time()
    directory = look.directory
    try:
        places = [directory, *(Path(one) for one in os.scandir(directory) if _is_inner(one))]
        for place in sorted(places):
            for entry in sorted(os.scandir(place), key=lambda one: one.name):
                if not entry.name.endswith((_PLAIN, SEALED)) or not entry.is_file(follow_symlinks=False):
                    continue
                path = Path(entry.path)
                age = now - entry.stat(follow_symlinks=False).st_mtime
                # A copy that keeps times looks old at once, but its name only changes hands by the end.
                changed = now - entry.stat(follow_symlinks=False).st_ctime
                if 0 <= min(age, changed) < look.settings.settle:
                    look.found.unsettled.append(look.name(path))
                else:
                    result[look.name(path)] = path
    except OSError as error:
        raise failed(error, directory) from error
    return result


def _is_inner(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False) and entry.name != QUARANTINE and not entry.name.startswith(".")


def _remove(directory: Path, taken: Mapping[str, str]) -> None:
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
