"""Walks a kustomization and all that it refers to, before anything is built: circles, gaps, remote bases.

Not here: building it (`build`).
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from isthmus.errors import UsageError
from isthmus.scan.document import list_at
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MAX_KUSTOMIZATIONS = 2000
MAX_DEPTH = 100
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|github\.com/|[^/]+\.[a-z]{2,}/.*(?:\?ref=|\.git)", re.IGNORECASE)


class Kustomization(msgspec.Struct, frozen=True):
    """One kustomization file, what it holds, and what it refers to that is not on this machine."""

    path: str
    data: dict[str, Any]
    remote: tuple[str, ...] = ()


def walk(directory: str) -> list[Kustomization]:
    """The kustomization of a directory and every one below it, each once.

    Raises UsageError (`invalid-source`, `invalid-input`) at the file, also where bases refer to each other
    in a circle, or UnreachableError (`io-failed`).
    """
    found: dict[str, Kustomization] = {}
    _visit(directory, (), found)
    return list(found.values())


def _visit(directory: str, within: tuple[str, ...], found: dict[str, Kustomization]) -> None:
    path = kustomization_file(directory, within[-1] if within else directory)
    real = os.path.realpath(path)
    if real in within:
        circle = " -> ".join(os.path.relpath(step, os.path.dirname(real)) for step in (*within, real))
        raise UsageError("invalid-input", f"its bases refer to each other in a circle: {circle[:500]}", where=path)
    if real in found:
        return
    if len(within) > MAX_DEPTH or len(found) > MAX_KUSTOMIZATIONS:
        raise UsageError("invalid-input", "there are too many kustomizations below it", where=path)
    data = _read(path)
    below, remote = [], []
    for entry in _references(data):
        place = os.path.join(directory, entry)
        if os.path.isdir(place):
            below.append(place)
        elif not os.path.exists(place):
            if not _REMOTE.match(entry):
                raise UsageError("invalid-input", f"it refers to {entry[:300]}, which is not there", where=path)
            remote.append(entry)
    found[real] = Kustomization(path=path, data=data, remote=tuple(remote))
    for place in below:
        _visit(place, (*within, real), found)


def kustomization_file(directory: str, where: str) -> str:
    """The kustomization file of a directory; raises UsageError (`invalid-source`)."""
    held = [name for name in FILES if os.path.isfile(os.path.join(directory, name))]
    if len(held) != 1:
        why = f"it holds {' and '.join(held)}" if held else f"it holds none of {', '.join(FILES)}"
        raise UsageError("invalid-source", f"{directory} is not a kustomization: {why}", where=where)
    return os.path.join(directory, held[0])


def _read(path: str) -> dict[str, Any]:
    documents = parse_all(read_text(path), path)
    if len(documents) > 1 or not all(isinstance(document, dict) for document in documents):
        raise UsageError("invalid-input", "it is not one mapping, as a kustomization has to be", where=path)
    return documents[0] if documents else {}


def _references(data: dict[str, Any]) -> Iterator[str]:
    for key in ("resources", "bases", "components"):
        for entry in list_at(data, key):
            # A resource may be written in place, as YAML in the list.
            if isinstance(entry, str) and "\n" not in entry:
                yield entry
