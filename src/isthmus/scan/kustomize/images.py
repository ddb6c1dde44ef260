"""The `images:` transformer: new names, tags and digests for the images of containers.

Not here: patches, which may change images as well.
"""

import re
from collections.abc import Mapping
from typing import Any

from isthmus.scan.document import text_at
from isthmus.scan.helm.request import RenderError

_REST = r"(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?"
_PLAIN = re.compile(r"[\w./:@-]+", re.ASCII)
_LISTS = ("containers", "initContainers")


def transform_images(data: dict[str, Any], images: list[Any]) -> None:
    """Change every image of the object in place, each entry in its turn; raises RenderError."""
    if data.get("kind") == "CustomResourceDefinition":
        return
    for entry in images:
        if not isinstance(entry, Mapping):
            raise RenderError("an entry of images is no mapping")
        _walk(data, entry, _pattern(text_at(entry, "name")))


def _pattern(name: str) -> "re.Pattern[str]":
    # kustomize takes the name for a pattern; one that is more than dots means something else than it seems.
    if not _PLAIN.fullmatch(name):
        raise RenderError(f"the name {name[:100]!r} of images needs kustomize itself")
    return re.compile(name + _REST)


def _walk(node: Any, entry: Mapping[str, Any], pattern: "re.Pattern[str]") -> None:
    if isinstance(node, list):
        for item in node:
            _walk(item, entry, pattern)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _LISTS and isinstance(value, list):
                for container in value:
                    _replace(container, "image", entry, pattern)
            if key == "volumes" and isinstance(value, list):
                for volume in value:
                    _replace(
                        volume.get("image") if isinstance(volume, dict) else None, "reference", entry, pattern
                    )
            _walk(value, entry, pattern)


def _replace(holder: Any, key: str, entry: Mapping[str, Any], pattern: "re.Pattern[str]") -> None:
    image = text_at(holder, key)
    if image and pattern.fullmatch(image):
        holder[key] = changed(image, entry)


def changed(image: str, entry: Mapping[str, Any]) -> str:
    """The image with an entry of `images:` applied."""
    rest, _, digest = image.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    name = text_at(entry, "newName") or name
    # A tag may be written without quotes and be a number then.
    new_tag, new_digest = str(entry.get("newTag") or ""), text_at(entry, "digest")
    if new_tag or new_digest:
        tag, digest = new_tag, new_digest
    elif text_at(entry, "tagSuffix"):
        tag, digest = tag + text_at(entry, "tagSuffix"), ""
    return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
