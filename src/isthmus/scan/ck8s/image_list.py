"""The images of helmfile.d/lists/images.yaml, as the configuration has overridden them, as further evidence.

An image that the rendered releases name is there for certain; one that they do not name belongs to
something that this configuration has off, and is `conditional`. Not here: finding images in what was
rendered (`rules`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from isthmus.errors import UsageError
from isthmus.inventory.model import Finding, Item, Ref
from isthmus.oci import Reference
from isthmus.scan.document import mapping_at

Listed: TypeAlias = Ref | Item
RULE = "ck8s-image-list"
_END = r"(?![\w./-])"
"""What follows the end of a name or tag, so that `controller` is not found in `controller-chroot`."""
_NOT_IMAGES = frozenset({"global"})
"""Keys under `images` that hold settings."""


def listed_images(values: Mapping[str, Any], rendered: Sequence[str], label: str) -> Iterator[Listed]:
    """Every image below `images` of the merged configuration, with whether the rendered text has it."""
    for path, written in _leaves(mapping_at(values, "images"), "images"):
        finding = Finding(
            source=f"{label} images", object="helmfile.d/lists/images.yaml", path=f".{path}", rule=RULE
        )
        try:
            reference = Reference.parse(written)
        except UsageError as error:
            yield Item(what=f"{path}: {written[:300]}", why=error.message, finding=finding)
            continue
        if not _is_rendered(written, reference, rendered):
            finding = Finding(
                source=finding.source,
                object=finding.object,
                path=finding.path,
                rule=RULE,
                confidence="likely",
                when="conditional",
                note="the list has it, but nothing that the configuration enables names it",
            )
        yield Ref("image", str(reference), as_written=(written,), findings=(finding,))


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if path == "images" and key in _NOT_IMAGES:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.{key}")
        elif isinstance(value, str) and value:
            yield f"{path}.{key}", value


def _is_rendered(written: str, reference: Reference, rendered: Sequence[str]) -> bool:
    """Whether one text has the whole name, or its path and its tag or digest apart, as split fields do."""
    path = re.compile(re.escape(reference.path) + _END)
    target = re.compile(re.escape(reference.target) + _END)
    return any(
        written in text or (reference.path in text and path.search(text) and target.search(text))
        for text in rendered
    )
