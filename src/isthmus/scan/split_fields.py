"""Image names in several fields of one mapping: `repository` and `tag`, `registry`, `digest`, and so on.

Fields belong together when the rest of their names is the same: `trivy.repository` with `trivy.tag`,
`WORKER_IMAGE_REPOSITORY` with `WORKER_IMAGE_TAG`. Not here: names in one field (`settings`).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from isthmus.scan.recognise import Look, look
from isthmus.scan.words import MAX_NAME, names_image, words

_ROLES: Mapping[str, str] = {
    "repository": "repository",
    "repo": "repository",
    "registry": "registry",
    "tag": "tag",
    "version": "version",
    "digest": "digest",
    "sha": "digest",
    "sha256": "digest",
    "name": "name",
}
_FILLERS = frozenset({"image", "container", "base", "docker"})


class Joined(msgspec.Struct, frozen=True):
    """A name put together from fields: `keys` in the order they were used; `sure` if a tag field was there."""

    keys: tuple[str, ...]
    text: str
    look: Look
    sure: bool


def joined_names(mapping: Mapping[str, Any], parent: str = "") -> Iterator[Joined]:
    """Every image name that fields of this mapping make up together; `parent` is the key it stands under."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for key, value in mapping.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool) and len(key) <= MAX_NAME:
            stem, role = _role(key)
            if role:
                groups.setdefault(stem, {}).setdefault(role, key)
    for stem, fields in groups.items():
        if len(fields) > 1:
            yield from _join(mapping, fields, names_image(parent) and not stem)


@lru_cache(maxsize=65536)
def _role(key: str) -> tuple[tuple[str, ...], str]:
    parts = words(key)
    if not parts:
        return (), ""
    if names_image(key):
        role, rest = "image", parts
    elif parts[-2:] == ("sha", "256"):
        role, rest = "digest", parts[:-2]
    else:
        role, rest = _ROLES.get(parts[-1], ""), parts[:-1]
    return tuple(part for part in rest if part not in _FILLERS), role


def _join(mapping: Mapping[str, Any], fields: Mapping[str, str], within_image: bool) -> Iterator[Joined]:
    value = {role: str(mapping[key]).strip().strip("/") for role, key in fields.items()}
    value = {role: text for role, text in value.items() if text}
    base = _base(value, within_image)
    if not base:
        return
    roles, name = base
    tag, digest = value.get("tag", ""), value.get("digest", "")
    if tag:
        roles.append("tag")
    elif "version" in value and (within_image or len(roles) > 1 or look(name) is Look.FAIR):
        tag = value["version"]
        roles.append("version")
    if tag.startswith(("sha256:", "sha512:")):
        tag, digest = "", tag
    tag, _, after = tag.partition("@")
    digest = after or digest
    if digest and ":" not in digest:
        digest = f"sha256:{digest}"
    if digest and "digest" in value:
        roles.append("digest")
    if not tag and not digest and not (within_image and len(roles) > 1):
        return
    text = name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    seen = look(text)
    if seen is not Look.NONE and len(roles) > 1:
        sure = "version" not in roles or len(roles) > 2 or within_image
        yield Joined(tuple(fields[role] for role in roles), text, seen, sure)


def _base(value: Mapping[str, str], within_image: bool) -> tuple[list[str], str] | None:
    """The roles that make up the name without tag and digest, and that name."""
    repository, image, registry = (value.get(role, "") for role in ("repository", "image", "registry"))
    if "://" in repository or "://" in registry:
        return None
    if repository and image and "/" not in image and _is_bare(image):
        roles, name = ["repository", "image"], f"{repository}/{image}"
    elif image and _is_bare(image):
        roles, name = ["image"], image
    elif image:
        return None
    elif repository:
        roles, name = ["repository"], repository
    elif within_image and "name" in value and _is_bare(value["name"]):
        roles, name = ["name"], value["name"]
    else:
        return None
    if registry and not name.startswith(f"{registry}/"):
        return ["registry", *roles], f"{registry}/{name}"
    return roles, name


def _is_bare(name: str) -> bool:
    return "@" not in name and ":" not in name.rpartition("/")[2]
