"""What is to be said of one reference: read from its manifests and image configs, which are small.

Not here: packages (`contents`), and sums over all items (`totals`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from isthmus.bundle.demands import SignedBy
from isthmus.bundle.manifest import CarriedReference
from isthmus.bundle.shelf import BundleShelf
from isthmus.errors import IsthmusError
from isthmus.oci import Descriptor, Manifest, Reference
from isthmus.oci.cosign import is_attachment
from isthmus.report.changes import ATTACHMENTS
from isthmus.report.model import Item
from isthmus.report.packages.model import text
from isthmus.report.signatures import signatures_of

TOOL: Final = "isthmus.internal/tool/"
_LABELS: Final = "org.opencontainers.image."
_NAME: Final = "dev.isthmus.name"
_MAX_CONFIG: Final = 8 * 1024 * 1024
_CONFIGS: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_ATTACHED: Final = re.compile(r"sha256-([0-9a-f]{64})\.(sig|att|sbom)", re.ASCII)
_UNKNOWN: Final = "unknown/unknown"

Evidence = Mapping[tuple[str, str], Sequence[str]]
"""What the lock says of who needs an entry, by the entry's kind and name."""


class Described(msgspec.Struct, frozen=True):
    """An item, and the manifests of the images that it stands for, for those who look into them."""

    item: Item
    images: tuple[Manifest, ...]
    parts: tuple[Manifest, ...]


def describe(
    shelf: BundleShelf, reference: CarriedReference, evidence: Evidence, signers: Sequence[SignedBy]
) -> Described:
    """All of a reference but its packages. What cannot be read is said in the item's notes."""
    name = Reference.parse(reference.name)
    notes: list[str] = []
    try:
        root = shelf.root(reference)
    except IsthmusError as error:
        return Described(_item(shelf, reference, name, None, {}, evidence, [error.message]), (), ())
    parts = shelf.parts(reference)
    images = tuple(part for part in parts if _is_plain_image(part))
    labels = dict(root.annotations)
    for image in images:
        labels |= _labels(shelf, image, notes)
    item = _item(shelf, reference, name, root, labels, evidence, notes)
    signable = [root.digest, *(image.digest for image in images if image.digest != root.digest)]
    if item.kind not in ATTACHMENTS.values():
        item = msgspec.structs.replace(item, signatures=signatures_of(shelf, name, root, signable, signers))
    return Described(item, images, tuple(parts))


def _item(
    shelf: BundleShelf,
    reference: CarriedReference,
    name: Reference,
    root: Manifest | None,
    labels: Mapping[str, str],
    evidence: Evidence,
    notes: Sequence[str],
) -> Item:
    held, blobs = shelf.manifest.held(), shelf.manifest.blobs
    needed_by = tuple(text(line) for line in evidence.get((reference.kind, reference.name), ()))
    origin = labels.get(_NAME, "")
    return Item(
        kind=_kind(reference, name, root),
        name=text(reference.name),
        digest=str(reference.digest),
        media_type=text(
            (root.effective_artifact_type if root and root.artifact_type else "") or reference.media_type
        ),
        size=sum(blobs[number].size for number in reference.blobs),
        carried=sum(blobs[number].size for number in reference.blobs if number not in held),
        host=_host(origin) or name.host,
        platforms=_platforms(root, reference),
        licences=_licences(labels),
        title=text(labels.get(f"{_LABELS}title", "") or origin),
        source=text(labels.get(f"{_LABELS}source", "") or labels.get(f"{_LABELS}url", "")),
        components=tuple(sorted({component(line) for line in needed_by})),
        needed_by=needed_by,
        notes=tuple(notes),
    )


def _host(origin: str) -> str:
    """The host in a URL, if it is one."""
    try:
        return text(urlsplit(origin).hostname or "")
    except ValueError:
        return ""


def component(evidence: str) -> str:
    """The source in a line of evidence, `SOURCE OBJECT PATH`; its second word may be the name of a release."""
    words = evidence.split(" ")
    if words[0] in ATTACHMENTS.values() or words[0] == "SBOM":
        return "signatures and SBOMs"
    second = words[1] if len(words) > 2 and ":" in words[0] else ""
    named = bool(second) and not second.startswith(".") and not re.match(r"[A-Z][A-Za-z]*/", second)
    return f"{words[0]} {second}" if named else words[0]


def _kind(reference: CarriedReference, name: Reference, root: Manifest | None) -> str:
    if reference.name.startswith(TOOL):
        return "tool"
    match = _ATTACHED.fullmatch(name.tag)
    if match and root is not None and is_attachment(name.tag, root):
        return ATTACHMENTS[match[2]]
    return reference.kind


def _platforms(root: Manifest | None, reference: CarriedReference) -> tuple[str, ...]:
    named = {str(child.platform) for child in root.manifests if child.platform} if root else set()
    wanted = named & set(reference.platforms) if reference.platforms and named else named
    return tuple(sorted((wanted or named) - {_UNKNOWN})) or reference.platforms


def _licences(labels: Mapping[str, str]) -> tuple[str, ...]:
    said = [labels.get(f"{_LABELS}licenses", ""), labels.get("license", ""), labels.get("licenses", "")]
    return tuple(dict.fromkeys(text(each) for each in said if each and len(each) < 200))


def _is_plain_image(manifest: Manifest) -> bool:
    config = manifest.config.media_type if manifest.config else ""
    rooted = any("layer" in layer.media_type or "rootfs" in layer.media_type for layer in manifest.layers)
    return config in _CONFIGS and rooted and not manifest.subject


def _labels(shelf: BundleShelf, image: Manifest, notes: list[str]) -> dict[str, str]:
    """The labels of an image's config, for which licences are the business of the image's maker."""
    config: Descriptor | None = image.config
    if config is None or config.size > _MAX_CONFIG:
        return {}
    try:
        document: Any = msgspec.json.decode(shelf.read(config))
    except (IsthmusError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        notes.append(f"its config cannot be read: {str(error)[:120]}")
        return {}
    inner = document.get("config") if isinstance(document, dict) else None
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    if not isinstance(labels, dict):
        return {}
    return {key: value for key, value in labels.items() if isinstance(key, str) and isinstance(value, str)}


def layers_of(images: Iterable[Manifest]) -> list[Descriptor]:
    """The file system layers of images, each once; what else is in a manifest is no layer."""
    found = {layer.digest: layer for image in images for layer in image.layers if not layer.is_foreign}
    return [layer for layer in found.values() if "layer" in layer.media_type or "rootfs" in layer.media_type]
