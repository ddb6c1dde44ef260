"""`manifests:FILE_OR_DIR`: YAML and JSON files as they are, compressed or not, `-` for standard input.

A file that cannot be read or parsed becomes an item that is not resolved, and the rest is read all the
same. Not here: rendering of any kind.
"""

import os
from collections.abc import Iterable, Iterator

from isthmus.errors import IsthmusError, UnreachableError, UsageError
from isthmus.inventory.model import Finding, Item
from isthmus.scan.document import Document
from isthmus.scan.input import read_text
from isthmus.scan.source import SourceSpec
from isthmus.scan.yaml_reader import Piece, parse, split

_ENDINGS = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")


def read(spec: SourceSpec) -> Iterator[Document | Item]:
    """Every document of the file, or of the directory's YAML and JSON files, in the order of their names.

    Raises UsageError (`invalid-source`, `file-not-found`) where there is nothing to read at all.
    """
    spec.allow()
    for path in manifest_files(spec.value):
        yield from read_file(path)


def manifest_files(value: str) -> list[str]:
    """The files that `value` names: itself, or what a directory holds, at any depth, sorted.

    Links to directories are not followed, so that no cycle is entered and nothing outside is read.
    """
    if value == "-" or os.path.isfile(value):
        return [value]
    if not os.path.exists(value):
        raise UsageError("file-not-found", "there is no such file or directory", where=value)
    if not os.path.isdir(value):
        raise UsageError("invalid-source", "it is neither a file nor a directory", where=value)
    found: list[str] = []
    for folder, below, names in os.walk(value, onerror=_refuse):
        below[:] = sorted(name for name in below if not name.startswith("."))
        found.extend(os.path.join(folder, name) for name in names if name.endswith(_ENDINGS))
    if not found:
        raise UsageError(
            "invalid-source",
            "the directory holds no manifests",
            where=value,
            hint="they end in .yaml, .yml or .json",
        )
    return sorted(found)


def read_file(path: str) -> Iterator[Document | Item]:
    """The documents of one file; those that cannot be parsed come out as items."""
    label = f"manifests:{path}"
    try:
        text = read_text(path)
    except IsthmusError as error:
        yield unread(label, error)
        return
    yield from read_pieces(split(text), path, label)


def read_pieces(pieces: Iterable[Piece], path: str, label: str) -> Iterator[Document | Item]:
    """The documents of some pieces of the file at `path`."""
    for piece in pieces:
        try:
            values = parse(piece, path)
        except IsthmusError as error:
            yield unread(label, error)
            continue
        for value in values:
            yield Document(label, value)


def total_size(paths: Iterable[str]) -> int:
    """Bytes of the files together, as far as they can be known; compressed files count as they are."""
    total = 0
    for path in paths:
        try:
            total += os.stat(path).st_size
        except OSError:
            continue  # reading it will say why
    return total


def unread(label: str, error: IsthmusError) -> Item:
    """The item that stands for something which could not be read."""
    return Item(
        what=error.where or label, why=error.message, finding=Finding(source=label, rule="parse"), hint=error.hint
    )


def _refuse(error: OSError) -> None:
    raise UnreachableError(
        "io-failed", f"it cannot be read: {error.strerror}", where=str(error.filename)
    ) from error
