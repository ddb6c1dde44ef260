"""What changed since an earlier release. Not here: what either holds (`release`)."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from isthmus.bundle.medium import open_regular
from isthmus.errors import UsageError
from isthmus.oci import Reference
from isthmus.report.model import FORMAT, VERSION, Item, Previous, Release, Removed

MAX_RELEASE: Final = 512 * 1024 * 1024


class Earlier(msgspec.Struct, frozen=True):
    """An earlier release: its digests by kind and name, and how this release names it."""

    previous: Previous
    digests: dict[tuple[str, str], str]


def read_release(path: str | os.PathLike[str]) -> tuple[Release, str]:
    """A release document and its SHA-256. Raises UsageError `file-not-found`, `invalid-input`, `io-failed`."""
    where = os.fspath(path)
    with open_regular(Path(path)) as file:
        if file.size > MAX_RELEASE:
            raise UsageError("invalid-input", f"it is larger than {MAX_RELEASE} bytes", where=where)
        data = file.at(0, file.size)
    try:
        found = msgspec.json.decode(data, type=Release)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError("invalid-input", f"not a release document: {str(error)[:200]}", where=where) from error
    if (found.format, found.version) != (FORMAT, VERSION):
        raise UsageError("invalid-input", "it is of another format or version", where=where)
    return found, hashlib.sha256(data).hexdigest()


def earlier(path: str | os.PathLike[str]) -> Earlier:
    """What to compare with. Raises as `read_release`."""
    found, digest = read_release(path)
    previous = Previous(found.bundle, digest, found.created)
    return Earlier(previous, {(item.kind, item.name): item.digest for item in found.items})


def changed(items: Iterable[Item], before: Earlier | None) -> tuple[tuple[Item, ...], tuple[Removed, ...]]:
    """The items with their changes, and what is gone. Without an earlier release, nothing is said.

    A new name takes the place of one that is gone where both are the only such of their repository: another tag.
    """
    items = tuple(items)
    if before is None:
        return items, ()
    result = []
    for item in items:
        was = before.digests.get((item.kind, item.name), "")
        change = "new" if not was else "same" if was == item.digest else "changed"
        result.append(msgspec.structs.replace(item, change=change, was=was if change == "changed" else ""))
    here = {(item.kind, item.name) for item in items}
    gone = sorted(key for key in before.digests if key not in here)
    result, replaced = _retagged(result, gone, before)
    left = [key for key in gone if key not in replaced]
    return tuple(result), tuple(Removed(kind, name, before.digests[kind, name]) for kind, name in left)


def _retagged(
    items: list[Item], gone: Sequence[tuple[str, str]], before: Earlier
) -> tuple[list[Item], set[tuple[str, str]]]:
    """The items, in which those with another tag than before say so, and what is not gone therefore."""
    old, new = _single(gone), _single((item.kind, item.name) for item in items if item.change == "new")
    result = []
    for item in items:
        key = (item.kind, _repository(item.name))
        if item.change == "new" and key in new and key in old:
            was = before.digests[item.kind, old[key]]
            change = "changed" if was != item.digest else "renamed"
            item = msgspec.structs.replace(item, change=change, was=was, was_name=old[key])
        result.append(item)
    return result, {(kind, old[kind, place]) for kind, place in old if (kind, place) in new}


def _single(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The names by kind and repository, where there is but one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for kind, name in keys:
        groups.setdefault((kind, _repository(name)), []).append(name)
    return {key: names[0] for key, names in groups.items() if len(names) == 1}


def _repository(name: str) -> str:
    try:
        return Reference.parse(name).repository
    except UsageError:
        return name
