"""Images in custom resources: fields that are known (certain), or named like one (likely, or possible).

What is only possible becomes likely where the definition of the kind, in the same input, says that the
field is an image (`facts` joins the two). Objects of no kind, such as values files, are read the same way.
Not here: pod specifications inside of them (`pods`).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Finding, Item, Ref
from isthmus.scan.catalogue_file import CustomKind
from isthmus.scan.catalogue_use import catalogue
from isthmus.scan.facts import Doubtful, Gap
from isthmus.scan.fields import pattern, select, text_of
from isthmus.scan.recognise import Look, look
from isthmus.scan.settings import Mention, mentions
from isthmus.scan.view import View
from isthmus.scan.words import words

RULE = "custom-resource"
FIELD_RULE = "custom-resource-field"
VALUES_RULE = "values"

_OUTPUT = frozenset({"image", "name", "url", "ref", "reference", "output", "target", "destination", "app"})
_VARIABLE = re.compile(r"\$\(|\{\{|\$\{")


def find(view: View) -> Iterator[Ref | Item | Doubtful | Gap]:
    """Every image that the object names outside of pod specifications."""
    if view.is_config or not view.trees:
        return
    group, kind = view.document.group, view.document.kind
    seen: set[str] = set()
    for entry in _known(group, kind):
        for found, path in _fields(view, entry):
            seen.add(path)
            yield found
    pods = tuple(f"{pod.path}." for pod in view.pods)
    for mention in mentions(view.document.data):
        if mention.path in seen or mention.path.startswith((".status", ".metadata")):
            continue
        if not mention.path.startswith(pods) or not pods:
            yield from _mentioned(view, mention, group, kind)


def _known(group: str, kind: str) -> tuple[CustomKind, ...]:
    return tuple(entry for entry in catalogue().kinds if entry.group == group and kind in entry.kinds)


def _fields(view: View, entry: CustomKind) -> Iterator[tuple[Ref | Item | Gap, str]]:
    data = view.document.data
    for field in entry.fields:
        for path, value in select(data, pattern(field)):
            if isinstance(value, str) and value.strip() and not _VARIABLE.search(value):
                yield view.image(value, view.finding(path, FIELD_RULE, "certain", note=entry.note)), path
    for made in entry.images:
        if made.unless and text_of(data, made.unless):
            continue
        if made.within and not any(True for _ in select(data, pattern(made.within))):
            continue
        value = text_of(data, made.field).removeprefix("v")
        finding = view.finding(made.field, FIELD_RULE, "likely", note=entry.note or f"follows from {made.field}")
        if value:
            text = re.sub(r"\{(\.[^}]*)\}", lambda match: text_of(data, match.group(1)), made.image)
            yield view.image(text.replace("{value}", value), finding), made.field
        else:
            why = "no field names the image or its version: the operator chooses"
            hint = f"set {made.unless or made.field}, or name the image under platform.add"
            item = Item(what=view.object_id, why=why, finding=finding, hint=hint)
            yield Gap(made.default_flag, finding, item) if made.default_flag else item, made.field


def _mentioned(view: View, mention: Mention, group: str, kind: str) -> Iterator[Ref | Item | Doubtful]:
    if not kind:
        if mention.confidence != "possible":
            yield view.image(mention.text, view.finding(mention.path, VALUES_RULE, "likely", note=mention.note))
        return
    for entry in _known(group, kind):
        for place in entry.suffixed:
            if mention.path.startswith(f"{place}.") and not mention.path.startswith(f"{place}.manager"):
                yield from _suffixed(view, mention)
                return
    confidence, note = mention.confidence, mention.note
    if group == "tekton.dev" and mention.pattern[-1:] == ("value",) and set(words(mention.key)) <= _OUTPUT:
        confidence, note = "possible", "as a parameter of this name is mostly what a pipeline builds"
    found = view.image(mention.text, view.finding(mention.path, RULE, confidence, note=note))
    if isinstance(found, Ref) and confidence == "possible" and look(mention.text) is not Look.NONE:
        yield Doubtful(found, group, kind, mention.pattern)
    else:
        yield found


def _suffixed(view: View, mention: Mention) -> Iterator[Ref | Item]:
    note = "the operator adds the nodes' operating system to the tag, such as -ubuntu22.04"
    finding: Finding = view.finding(mention.path, RULE, "likely", "conditional", note)
    yield view.image(mention.text, finding)
    if "@" not in mention.text:
        hint = f"name {mention.text}-OS under platform.add for each operating system of the nodes"
        yield Item(what=f"{mention.text}-…", why=note, finding=finding, hint=hint)
