"""What the file server has of the store: every file of its artifacts by path (decision 0005). Only values.

A path that two artifacts claim is the first one's, by their names in the store. Whatever came from a URL is
also found under `HOST/PATH` of that, and a git repository with and without `.git`. Not here: HTTP, charts'
`index.yaml` (`chart_index`), the smart git protocol (`git_http`).
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote, urlsplit

from isthmus.content import Layer, Thing
from isthmus.oci import Digest
from isthmus.serve.tree import Item

_log = logging.getLogger("isthmus.serve")


@dataclass(frozen=True)
class Held:
    """One file. `changed` is when its publisher made it, in seconds since the epoch; 0 where nobody says so."""

    digest: Digest
    size: int
    repository: str
    changed: float = 0.0


@dataclass
class Shelf:
    """Files and directories by path; `git` by the path of the repository; `aliases` lead to a real path."""

    files: dict[str, Held] = field(default_factory=dict)
    directories: dict[str, dict[str, Item]] = field(default_factory=dict)
    git: dict[str, Thing] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def real(self, path: str) -> str:
        """The path that a path means."""
        if path in self.files or path in self.directories:
            return path
        end = len(path)
        while end > 0:
            real = self.aliases.get(path[:end])
            if real is not None:
                return real + path[end:]
            end = path.rfind("/", 0, end)
        return path

    def repository_of(self, path: str) -> tuple[str, str]:
        """The git repository that a path lies in, and the rest of the path; twice nothing where in none."""
        end = len(path)
        while end > 0:
            if path[:end] in self.git:
                return path[:end], path[end + 1 :]
            end = path.rfind("/", 0, end)
        return "", ""


def make_shelf(things: Iterable[Thing]) -> Shelf:
    """Lay out everything that is served."""
    shelf = Shelf({}, {"": {}})
    for thing in things:
        changed = _seconds(thing.created)
        for path, layer in thing.paths():
            add_file(shelf, path, layer, thing.reference, changed)
        if thing.serve:
            _name_again(shelf, thing)
    return shelf


def add_file(shelf: Shelf, path: str, layer: Layer, reference: str, changed: float) -> None:
    """Put one file in its place, unless that is taken."""
    before = shelf.files.get(path)
    if before is not None or path in shelf.directories:
        if before is None or before.digest != layer.digest:
            _log.warning("%s wants to be served at %s, which something else has", reference, path)
        return
    parts = path.split("/")
    parents = ["/".join(parts[:count]) for count in range(1, len(parts))]
    if any(parent in shelf.files for parent in parents):
        _log.warning("%s wants to be served below %s, which is a file", reference, path)
        return
    repository = reference.partition("@")[0].rpartition(":")[0]
    shelf.files[path] = Held(layer.digest, layer.size, repository, changed)
    above = ""
    for parent, name in zip(parents, parts, strict=False):
        shelf.directories[above].setdefault(name, Item(name, True, 0, changed))
        shelf.directories.setdefault(parent, {})
        above = parent
    shelf.directories[above][parts[-1]] = Item(parts[-1], False, layer.size, changed)


def _name_again(shelf: Shelf, thing: Thing) -> None:
    names = [_place(thing.name)] if thing.kind != "chart" else []
    if thing.kind == "git":
        shelf.git.setdefault(thing.serve, thing)
        names += [_other_git(name) for name in (thing.serve, *names) if name]
    for name in names:
        if name and name != thing.serve:
            shelf.aliases.setdefault(name, thing.serve)


def _other_git(path: str) -> str:
    return path.removesuffix(".git") if path.endswith(".git") else f"{path}.git"


def _place(name: str) -> str:
    """`HOST/PATH` of a URL, or nothing."""
    try:
        parts = urlsplit(name)
        host = parts.hostname or ""
        if parts.port:
            host = f"{host}:{parts.port}"
    except ValueError:
        return ""
    path = unquote(parts.path).strip("/")
    return f"{host}/{path}" if host and path and parts.scheme in ("http", "https", "ssh", "git") else ""


def _seconds(created: str) -> float:
    try:
        return datetime.fromisoformat(created).timestamp() if created else 0.0
    except (ValueError, OverflowError):
        return 0.0
