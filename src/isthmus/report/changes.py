"""What changed since an earlier release, or since what the sites hold. Not here: what either holds (`release`)."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from isthmus.bundle import Receipt
from isthmus.bundle.medium import open_regular
from isthmus.errors import UsageError
from isthmus.oci import Reference
from isthmus.report.model import FORMAT, VERSION, Item, Previous, Release, Removed

MAX_RELEASE: Final = 512 * 1024 * 1024
ATTACHMENTS: Final = {"sig": "signature", "att": "attestation", "sbom": "sbom"}
_ATTACHED: Final = re.compile(r":sha256-[0-9a-f]{64}\.(sig|att|sbom)(?:@|$)", re.ASCII)


class Earlier(msgspec.Struct, frozen=True):
    """What is compared with: the kind (where it is known) and digest of each name then, and what it is itself."""

    previous: Previous
    names: dict[str, tuple[str, str]]


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
    """An earlier release. Raises as `read_release`."""
    found, digest = read_release(path)
    previous = Previous(found.bundle, digest, found.created)
    return Earlier(previous, {item.name: (item.kind, item.digest) for item in found.items})


def held_before(receipts: Sequence[Receipt]) -> Earlier:
    """What all the sites have, by their receipts."""
    common = set.intersection(
        *({(ref.name, str(ref.digest)) for ref in receipt.references} for receipt in receipts)
    )
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(common))
    previous = Previous("", hashlib.sha256(lines.encode()).hexdigest(), receipts[0].created, "receipt")
    return Earlier(previous, {name: (attachment(name), digest) for name, digest in common})


def attachment(name: str) -> str:
    """What cosign attached, by the tag that it gives it; nothing for any other name."""
    match = _ATTACHED.search(name)
    return ATTACHMENTS[match[1]] if match else ""


def changed(items: Iterable[Item], before: Earlier | None) -> tuple[tuple[Item, ...], tuple[Removed, ...]]:
    """The items with their changes, and what is gone. Without an earlier state, nothing is said.

    A new name takes the place of one that is gone where both are the only such of their repository: another tag.
    """
    items = list(items)
    if before is None:
        return tuple(items), ()
    gone = before.names.keys() - {item.name for item in items}
    new = {item.name for item in items} - before.names.keys()
    replaced = _retagged(gone, new)
    result = tuple(_compared(item, before, replaced.get(item.name, item.name)) for item in items)
    left = sorted(gone - set(replaced.values()))
    return result, tuple(Removed(before.names[name][0], name, before.names[name][1]) for name in left)


def _compared(item: Item, before: Earlier, name: str) -> Item:
    """The item beside what had this name before."""
    _, was = before.names.get(name, ("", ""))
    if not was:
        return msgspec.structs.replace(item, change="new")
    if was != item.digest:
        return msgspec.structs.replace(item, change="changed", was=was, was_name=name if name != item.name else "")
    if name != item.name:
        return msgspec.structs.replace(item, change="renamed", was=was, was_name=name)
    return msgspec.structs.replace(item, change="same")


def _retagged(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """The new names that take the place of one that is gone, each with that one."""
    old = _single(gone)
    return {name: old[repository] for repository, name in _single(new).items() if repository in old}


def _single(names: Iterable[str]) -> dict[str, str]:
    """The names by repository, where there is but one of it; what is attached to images is left out."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if not attachment(name):
            groups.setdefault(_repository(name), []).append(name)
    return {repository: found[0] for repository, found in groups.items() if len(found) == 1}


def _repository(name: str) -> str:
    try:
        return Reference.parse(name).repository
    except UsageError:
        return name
