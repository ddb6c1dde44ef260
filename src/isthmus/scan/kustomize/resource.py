"""`Resource`: an object that is being built, with all names that it had on the way, and how patches find it.

Not here: what patches do (`patches`).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from isthmus.scan.document import Document, mapping_at, text_at
from isthmus.scan.helm.request import RenderError

Identity: TypeAlias = tuple[str, str, str, str]
"""Group, kind, namespace, name."""
_SELECTOR = re.compile(r"\s*([\w./-]+)\s*(?:(==|=|!=)\s*([\w.-]*))?\s*", re.ASCII)


class Resource:
    """One object; its first identity is that of its file."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.identities: list[Identity] = [identity(data)]

    def remember(self) -> None:
        """Keep the identity that the object has now, so that it is still found by former ones."""
        now = identity(self.data)
        if now not in self.identities:
            self.identities.append(now)

    def matches(self, target: Mapping[str, Any]) -> bool:
        """Whether a patch's `target` means this object: its names are anchored patterns; raises RenderError."""
        document = Document("", self.data)
        group, _, version = document.api_version.rpartition("/")
        own = (("group", group), ("version", version), ("kind", document.kind))
        if not all(_fits(text_at(target, key), value) for key, value in own):
            return False
        first, last = self.identities[0], identity(self.data)
        for key, index in (("namespace", 2), ("name", 3)):
            pattern = text_at(target, key)
            if not (_fits(pattern, first[index]) or _fits(pattern, last[index])):
                return False
        labels = mapping_at(document.metadata, "labels")
        return _selected(text_at(target, "labelSelector"), labels) and _selected(
            text_at(target, "annotationSelector"), document.annotations
        )


def identity(data: Mapping[str, Any]) -> Identity:
    """What tells an object from others; no namespace is the default one."""
    document = Document("", data)
    return (document.group, document.kind, text_at(document.metadata, "namespace") or "default", document.name)


def find(resources: Iterable[Resource], patch: Mapping[str, Any]) -> Resource:
    """The object that a patch names by its own kind and name; raises RenderError for none and for many."""
    wanted = identity(patch)
    found = [resource for resource in resources if wanted in resource.identities]
    if len(found) != 1:
        how = "nothing" if not found else f"{len(found)} objects"
        raise RenderError(f"the patch of {wanted[1]}/{wanted[3]} matches {how}")
    return found[0]


def _fits(pattern: str, value: str) -> bool:
    if not pattern:
        return True
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error as error:
        raise RenderError(f"the target of a patch has a pattern that is none: {pattern[:100]!r}") from error


def _selected(selector: str, held: Mapping[str, Any]) -> bool:
    for part in selector.split(",") if selector else []:
        match = _SELECTOR.fullmatch(part)
        if match is None:
            raise RenderError(f"the selector {selector[:100]!r} needs kustomize itself")
        key, operator, value = match.groups()
        if operator is None:
            if key not in held:
                return False
        elif (str(held.get(key)) == value and key in held) != (operator != "!="):
            return False
    return True
