"""Reads catalogue files: what programs bring along without any manifest naming it.

The files of the package are in `catalogue/`; users add their own with `platform.catalogue`. The form of a
file is the form of the structures here, and the README there describes it. Not here: when an entry
applies (`rules/operators`, `rules/custom_resources`).
"""

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import msgspec

from isthmus.errors import UsageError
from isthmus.inventory.model import Kind, When
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all


class Brought(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reference that a program brings along.

    `{tag}`, `{version}`, `{host}` and `{parent}` in it are those of the program's own image, `{lookup}` is
    what the entry's `lookup` has for the tag.
    """

    image: str
    kind: Kind = "image"
    when: When = "always"
    note: str = ""


class Contacted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that a program contacts of its own accord."""

    url: str
    purpose: str
    advice: str
    when: When = "always"
    note: str = ""


class Unless(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the container that take the place of what is compiled in."""

    flags: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a program brings along: `image` is the end of its repository, `versions` a range of its tags.

    `source` says where this can be read; `lookup` maps tags to versions of something else.
    """

    image: str
    source: str
    versions: str = ""
    lookup: Mapping[str, str] = {}
    unless: Unless = Unless()
    references: tuple[Brought, ...] = ()
    endpoints: tuple[Contacted, ...] = ()


class FieldImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image made of a field, such as a version, unless another field names it.

    `default_flag` is the flag of the operator that names the image of objects with neither field.
    """

    field: str
    image: str
    unless: str = ""
    within: str = ""
    default_flag: str = ""


class CustomKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What custom resources of some kinds name: `fields` are paths of images, without numbers in lists.

    `suffixed` are paths of mappings whose image gets a suffix that only the nodes know.
    """

    group: str
    kinds: tuple[str, ...]
    source: str = ""
    fields: tuple[str, ...] = ()
    images: tuple[FieldImage, ...] = ()
    suffixed: tuple[str, ...] = ()
    note: str = ""


class Ignored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kinds whose objects compare or describe images, but never run them; no kinds means all of the group."""

    group: str
    kinds: tuple[str, ...] = ()


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One catalogue file, or several together; `lookups` only holds what its entries share."""

    operators: tuple[Operator, ...] = ()
    kinds: tuple[CustomKind, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    lookups: Mapping[str, Any] = {}


def load_catalogue(paths: Iterable[str] = ()) -> Catalogue:
    """The package's catalogue together with the files and directories at `paths`.

    Raises UsageError (`invalid-config`, `file-not-found`).
    """
    return join([*_built_in(), *(_read(file) for path in paths for file in _files(path))])


def parse_catalogue(text: str, where: str) -> Catalogue:
    """One catalogue file; raises UsageError (`invalid-config`)."""
    try:
        documents = parse_all(text, where)
        return join([msgspec.convert(document, Catalogue) for document in documents])
    except msgspec.ValidationError as error:
        raise UsageError("invalid-config", str(error)[:300], where=where) from error
    except UsageError as error:
        raise UsageError("invalid-config", error.message, where=error.where or where) from error


def join(parts: list[Catalogue]) -> Catalogue:
    """One catalogue of several."""
    return Catalogue(
        operators=tuple(entry for part in parts for entry in part.operators),
        kinds=tuple(entry for part in parts for entry in part.kinds),
        ignored=tuple(entry for part in parts for entry in part.ignored),
    )


@lru_cache(maxsize=1)
def _built_in() -> tuple[Catalogue, ...]:
    folder = resources.files("isthmus.scan") / "catalogue"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return tuple(parse_catalogue(file.read_text("utf-8"), f"catalogue/{file.name}") for file in files)


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith((".yaml", ".yml")))


def _read(path: str) -> Catalogue:
    return parse_catalogue(read_text(path), path)
