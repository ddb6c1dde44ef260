"""Volumes in an incoming directory that are not encrypted: which belong together, and taking them.

Not here: verifying and unpacking themselves (`isthmus.bundle`), and encrypted volumes (`sealed`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from isthmus.bundle import unpack, verify
from isthmus.bundle.volume import Inspection, KnownContents, inspect
from isthmus.carry.inbox.look import WAITS, Arrived, Look
from isthmus.carry.inbox.remembered import Waiting
from isthmus.errors import IncompleteError, IsthmusError, VerificationError


def plain_bundles(files: Mapping[str, Path], look: Look) -> list[Arrived]:
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
        _stray(one, readable, look)
    return [
        Arrived(bundle, bundle, tuple(one.path for one in group), partial(_take, bundle, group, look))
        for bundle, group in readable.items()
    ]


def _stray(one: Inspection, bundles: dict[str, list[Inspection]], look: Look) -> None:
    """A volume whose beginning is lost still has its name, and parity may make up for it."""
    for group in bundles.values():
        contents = next(other.contents for other in group if other.contents)
        count = len(contents.manifest.volumes)
        if one.path.name in {contents.manifest.file_name(number) for number in range(1, count + 1)}:
            group.append(one)
            return
    unknown = VerificationError("damaged-volume", "it says nothing of what it holds")
    look.quarantine(one.path, one.error or unknown)


def _take(bundle: str, inspections: Sequence[Inspection], look: Look) -> str | Waiting | None:
    paths = [one.path for one in inspections]
    contents = next(one.contents for one in inspections if one.contents)
    name, settings = contents.manifest.name, look.settings
    checked = verify(paths, settings.keys, look.progress)
    missing = tuple(volume.file for volume in checked.missing)
    volumes = {str(path) for path in paths}
    damaged = [problem for problem in checked.damaged if problem.file in volumes]
    if damaged and not checked.repairable:
        for problem in damaged:
            look.quarantine(Path(problem.file), problem)
        lost = tuple(Path(problem.file).name for problem in damaged)
        return Waiting(bundle, name, tuple(sorted({*missing, *lost})))
    if not checked.complete and not checked.repairable and missing:
        return Waiting(bundle, name, missing)
    if settings.store is None:
        return name
    try:
        unpack(
            paths, settings.store, settings.keys, look.progress, policy=settings.policy, demands=settings.demands,
            durable=True,
        )  # fmt: skip
    except IncompleteError as error:
        return Waiting(bundle, name, missing, error.message)
    except VerificationError as error:
        if error.code in WAITS:
            return Waiting(bundle, name, missing, error.message)
        for path in paths:
            look.quarantine(path, error)
        return None
    return name
