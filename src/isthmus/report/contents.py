"""What is inside of the images that cross: packages from layers and from attached SBOMs, by item.

Not here: how layers are read (`packages`), how SBOMs are read (`carried`), the document (`cyclonedx`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from isthmus.bundle.shelf import BundleShelf
from isthmus.oci import Manifest, Reference
from isthmus.progress import Progress
from isthmus.report.carried import carried_sboms
from isthmus.report.items import Described, layers_of
from isthmus.report.model import Contents, Item, Licence
from isthmus.report.packages import LayerCache, LayerFacts, Package, packages_of

Mode = Literal["none", "carried", "full"]
MODES: Final = ("none", "carried", "full")
_LISTED: Final = 40


class Inside(msgspec.Struct, frozen=True):
    """An item with what was found inside of it; `packages` by their URL, those of layers before those of SBOMs."""

    item: Item
    packages: dict[str, Package]


def look_inside(
    shelf: BundleShelf,
    described: Sequence[Described],
    mode: Mode,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Inside]:
    """Open every image as far as `mode` says; each layer is read once. Progress counts bytes of layers."""
    facts: dict[str, LayerFacts] = {}
    if mode == "full":
        layers = {layer.digest: shelf.path(layer.digest) for each in described for layer in layers_of(each.images)}
        here = {digest: path for digest, path in layers.items() if path is not None}
        facts = {str(digest): found for digest, found in LayerCache(cache).facts(here, progress).items()}
    return [_inside(shelf, each, facts, mode) for each in described]


def _inside(shelf: BundleShelf, described: Described, facts: dict[str, LayerFacts], mode: Mode) -> Inside:
    item = described.item
    packages: dict[str, Package] = {}
    notes = list(item.notes)
    distribution = ""
    for image in described.images if mode == "full" else ():
        found = packages_of(
            [facts[str(layer.digest)] for layer in layers_of([image]) if str(layer.digest) in facts]
        )
        distribution = found.title or found.distribution or distribution
        notes += found.faults
        if any(str(layer.digest) not in facts for layer in layers_of([image])):
            notes.append("some layers are not here, since the site holds them, and were not read")
        packages |= {package.url(found.distribution): package for package in found.packages}
    sboms = []
    if mode != "none":
        carried, faults = carried_sboms(shelf, _attached(shelf, described))
        notes += faults
        for each in carried:
            sboms.append(each.sbom)
            for package in each.packages:
                packages.setdefault(package.url(), package)
    replaced = msgspec.structs.replace(
        item,
        distribution=distribution,
        packages=len(packages),
        sboms=tuple(sboms),
        notes=tuple(dict.fromkeys(notes)),
    )
    return Inside(replaced, packages)


def _attached(shelf: BundleShelf, described: Described) -> list[Manifest]:
    repository = Reference.parse(described.item.name).repository
    parts = {part.digest: part for part in described.parts if part not in described.images}
    for image in described.parts:
        parts |= {manifest.digest: manifest for manifest in shelf.attached(repository, image.digest)}
    return [parts[digest] for digest in sorted(parts)]


def summary(inside: Sequence[Inside], mode: Mode) -> Contents:
    """Counts over all items, each package once."""
    packages = {url: package for each in inside for url, package in each.packages.items()}
    kinds = Counter(package.kind for package in packages.values())
    licences = Counter(package.license for package in packages.values() if package.license)
    listed = sorted(licences.items(), key=lambda pair: (-pair[1], pair[0]))[:_LISTED]
    return Contents(
        mode=mode,
        packages=len(packages),
        by_type=tuple(sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))),
        licences=tuple(Licence(name, count) for name, count in listed),
        without_licence=sum(1 for package in packages.values() if not package.license),
    )
