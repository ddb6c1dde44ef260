"""`kustomize:DIR`: what a kustomization becomes, with an installed kustomize or kubectl, or without for most.

Bases that are elsewhere are reported, as they are fetched when it is built. Not here: the building
(`scan.kustomize`).
"""

import os
from collections.abc import Iterator

from isthmus.errors import UsageError
from isthmus.inventory.model import Finding, Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.helm.request import RenderError
from isthmus.scan.kustomize.build import build
from isthmus.scan.kustomize.graph import Kustomization, walk
from isthmus.scan.source import SourceSpec


def read(spec: SourceSpec) -> Iterator[Document | Item | Ref]:
    """The documents that the kustomization becomes, or the item that says why there are none.

    Raises UsageError (`file-not-found`, `invalid-source`, `invalid-input`) or UnreachableError.
    """
    spec.allow()
    directory = spec.value
    if not os.path.exists(directory):
        raise UsageError("file-not-found", "there is no such directory", where=directory)
    label = f"kustomize:{directory}"
    for kustomization in walk(directory):
        yield from _remote(kustomization, label)
    try:
        values = build(directory)
    except RenderError as error:
        yield Item(
            what=directory,
            why=f"the kustomization was not built: {error.message}",
            finding=Finding(source=label, rule="render"),
            hint=error.hint or "build it where its parts can be reached, and scan the result with manifests:",
        )
        return
    for value in values:
        yield Document(label, value)


def _remote(kustomization: Kustomization, label: str) -> Iterator[Ref]:
    for entry in kustomization.remote:
        finding = Finding(
            source=label,
            object=f"Kustomization/{kustomization.path}",
            path=".resources",
            rule="kustomize-remote",
            note="fetched when the kustomization is built, not by the cluster",
        )
        is_file = entry.startswith(("http://", "https://")) and entry.partition("?")[0].endswith((".yaml", ".yml"))
        yield Ref("file" if is_file else "git", entry, as_written=(entry,), findings=(finding,))
