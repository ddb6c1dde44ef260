"""`View`: one document as the rules see it: its containers found once, its condition worked out once.

Not here: any rule.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from isthmus.errors import IsthmusError
from isthmus.inventory.model import Confidence, Endpoint, Finding, Item, Kind, Ref, When
from isthmus.oci import Reference
from isthmus.scan.addresses import Leaf, leaves, mappings
from isthmus.scan.command_line import Argument, arguments
from isthmus.scan.document import Document, list_at, text_at
from isthmus.scan.embedded import Text, Tree, config_trees
from isthmus.scan.groups import is_built_in, is_ignored
from isthmus.scan.paths import index_path, key_path
from isthmus.scan.pod_specs import PodSpec, pod_specs
from isthmus.scan.recognise import MAX_TEXT

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


class Container(msgspec.Struct, frozen=True):
    """A container with the path to it; `certain` where the kind of the object is one that Kubernetes runs."""

    path: str
    data: Mapping[str, Any]
    certain: bool


class Variable(msgspec.Struct, frozen=True):
    """A variable of a container's environment; `path` is that of its value."""

    path: str
    name: str
    value: str


class View:
    """A document and what several rules want to know of it."""

    def __init__(self, document: Document, prefix: str = "", inherited: Confidence = "certain") -> None:
        self.document = document
        self.prefix = prefix
        self.inherited = inherited
        self.object_id = document.object_id

    @cached_property
    def when(self) -> When:
        """`test` for objects that only Helm's tests make, otherwise what the source says."""
        if is_test_hook(self.document.annotations):
            return "test"
        return self.document.when

    @cached_property
    def pods(self) -> list[PodSpec]:
        """Every pod specification in the document; those in policies are patterns."""
        document = self.document
        return [] if is_ignored(document.group, document.kind) else list(pod_specs(document))

    @cached_property
    def containers(self) -> list[Container]:
        """Every container of every pod specification."""
        return [
            Container(index_path(key_path(pod.path, name), index), container, pod.certain)
            for pod in self.pods
            for name in CONTAINER_LISTS
            for index, container in enumerate(list_at(pod.data, name))
            if isinstance(container, Mapping)
        ]

    @cached_property
    def arguments(self) -> list[Argument]:
        """Every flag of every container, with what is set to it."""
        return [
            found
            for container in self.containers
            for field in ("command", "args")
            for found in arguments(list_at(container.data, field), key_path(container.path, field))
        ]

    @cached_property
    def variables(self) -> list[Variable]:
        """Every variable of every container that has a value of its own."""
        return [
            Variable(f"{container.path}.env[{index}].value", text_at(variable, "name"), variable["value"])
            for container in self.containers
            for index, variable in enumerate(list_at(container.data, "env"))
            if text_at(variable, "value")
        ]

    @cached_property
    def is_config(self) -> bool:
        """Whether the document is data for programs: a ConfigMap or a Secret."""
        return self.document.kind in ("ConfigMap", "Secret") and self.document.group == ""

    @cached_property
    def parts(self) -> tuple[list[Tree], list[Text], list[Tree]]:
        """Settings, text of no known form, and Kubernetes objects inside the document."""
        trees: list[Tree] = []
        texts: list[Text] = []
        objects: list[Tree] = []
        for part in self._found():
            if isinstance(part, Text):
                texts.append(part)
            elif part.form and text_at(part.data, "kind") and text_at(part.data, "apiVersion"):
                objects.append(part)
            else:
                trees.append(part)
        return trees, texts, objects

    def _found(self) -> Iterator[Tree | Text]:
        document = self.document
        if self.is_config:
            return config_trees(document.data)
        is_bare = not document.kind and not document.api_version
        is_custom = not is_built_in(document.group) and not is_ignored(document.group, document.kind)
        return iter([Tree("", document.data)] if is_bare or is_custom else [])

    @cached_property
    def mappings(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Every mapping in the settings, outer ones first, with its path."""
        return [found for tree in self.trees for found in mappings(tree.data, tree.path)]

    @cached_property
    def leaves(self) -> list[Leaf]:
        """Every text in the settings."""
        return [leaf for tree in self.trees for leaf in leaves(tree.data, tree.path)]

    @property
    def trees(self) -> list[Tree]:
        """The settings in the document: itself, or what a ConfigMap or Secret holds.

        Kubernetes' own kinds have none, and neither have policies and the like.
        """
        return self.parts[0]

    @property
    def texts(self) -> list[Text]:
        """Texts of no known form in a ConfigMap or Secret."""
        return self.parts[1]

    @property
    def objects(self) -> list[Tree]:
        """Kubernetes objects in a ConfigMap or Secret."""
        return self.parts[2]

    def finding(
        self, path: str, rule: str, confidence: Confidence = "certain", when: When = "always", note: str = ""
    ) -> Finding:
        """Evidence in this document; the weaker of the rule's and the document's conditions counts."""
        order: tuple[When, ...] = ("always", "conditional", "test")
        ranks: tuple[Confidence, ...] = ("certain", "likely", "possible")
        return Finding(
            source=self.document.source,
            object=self.object_id,
            path=self.prefix + path,
            rule=rule,
            confidence=max(confidence, self.inherited, key=ranks.index),
            when=max(when, self.when, key=order.index),
            note="; ".join(part for part in (note, self.document.note) if part),
        )

    def image(self, text: str, finding: Finding, kind: Kind = "image") -> Ref | Item:
        """The reference that `text` names, or the item that says why it names none."""
        return reference(text, finding, kind)


def reference(text: str, finding: Finding, kind: Kind = "image") -> Ref | Item:
    """The image or artifact that `text` names, or the item that says why it names none."""
    written = text.strip()
    try:
        name = _normal(written) if len(written) <= MAX_TEXT else str(Reference.parse(written))
    except IsthmusError as error:
        hint = "render what it is a template of, or name the image under platform.add"
        if not any(mark in text for mark in "${<"):
            hint = "correct the name where it is written"
        return Item(what=text[:300], why=error.message, finding=finding, hint=hint)
    return Ref(kind=kind, name=name, as_written=(written,), findings=(finding,))


@lru_cache(maxsize=65536)
def _normal(text: str) -> str:
    return str(Reference.parse(text.removeprefix("docker://").removeprefix("oci://")))


def endpoint(url: str, purpose: str, finding: Finding, advice: str) -> Endpoint:
    """An endpoint with one finding."""
    return Endpoint(url=url, purpose=purpose, findings=(finding,), advice=advice)


def is_test_hook(annotations: Mapping[str, Any]) -> bool:
    """Whether Helm makes the object for `helm test` only."""
    hooks = [hook.strip() for hook in text_at(annotations, "helm.sh/hook").split(",")]
    return all(hook in ("test", "test-success", "test-failure") for hook in hooks)
