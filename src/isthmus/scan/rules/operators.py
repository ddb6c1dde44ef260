"""What programs bring along without any manifest naming it, from the catalogue. Likely.

An image of the catalogue in a version that the catalogue does not know comes out as an item. Not here: the
catalogue itself (`catalogue_file`).
"""

from collections.abc import Iterator, Mapping

from isthmus.errors import IsthmusError
from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.oci import Reference
from isthmus.scan.catalogue_file import Operator
from isthmus.scan.catalogue_use import catalogue
from isthmus.scan.document import list_at, text_at
from isthmus.scan.version_range import holds, version_of
from isthmus.scan.view import Container, View, endpoint

RULE = "operator-default"


def find(view: View) -> Iterator[Ref | Endpoint | Item]:
    """Everything that the programs in the containers are known to bring along or contact."""
    for container in view.containers:
        image = text_at(container.data, "image").strip()
        if not any(
            entry.image in image for entry in catalogue().operators if not entry.image.startswith("library/")
        ):
            continue
        try:
            reference = Reference.parse(image)
        except IsthmusError:
            continue  # the rule for pods has said so
        yield from _container(view, container, reference)


def _container(view: View, container: Container, reference: Reference) -> Iterator[Ref | Endpoint | Item]:
    entries = [entry for entry in catalogue().operators if f"/{reference.path}".endswith(f"/{entry.image}")]
    fitting = [entry for entry in entries if holds(entry.versions, reference.tag)]
    path = f"{container.path}.image"
    for entry in fitting:
        if not _is_set(view, entry, container):
            yield from _brought(view, entry, reference, path)
    if any(entry.lookup for entry in entries) and not fitting:
        yield _unknown(view, reference, path)


def _brought(view: View, entry: Operator, reference: Reference, path: str) -> Iterator[Ref | Endpoint | Item]:
    looked_up = entry.lookup.get(reference.tag, "")
    if entry.lookup and not looked_up:
        yield _unknown(view, reference, path)
        return
    names = {
        "tag": reference.tag,
        "version": version_of(reference.tag),
        "host": reference.host,
        "parent": reference.path.rpartition("/")[0],
        "lookup": looked_up,
    }
    for brought in entry.references:
        text = _fill(brought.image, names)
        note = "; ".join(part for part in (brought.note, f"see {_fill(entry.source, names)}") if part)
        yield view.image(text, view.finding(path, RULE, "likely", brought.when, note), brought.kind)
    for contacted in entry.endpoints:
        note = "; ".join(part for part in (contacted.note, f"see {_fill(entry.source, names)}") if part)
        finding = view.finding(path, RULE, "likely", contacted.when, note)
        yield endpoint(_fill(contacted.url, names), contacted.purpose, finding, contacted.advice)


def _fill(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _is_set(view: View, entry: Operator, container: Container) -> bool:
    own = f"{container.path}."
    given = {argument.flag for argument in view.arguments if argument.path.startswith(own)}
    names = {text_at(variable, "name") for variable in list_at(container.data, "env")}
    return bool(given & set(entry.unless.flags)) or bool(names & set(entry.unless.env))


def _unknown(view: View, reference: Reference, path: str) -> Item:
    return Item(
        what=f"images of {reference}",
        why="it brings images along, and the catalogue does not know this version",
        finding=view.finding(path, RULE, "likely"),
        hint="add a catalogue file for it (platform.catalogue), or name the images under platform.add",
    )
