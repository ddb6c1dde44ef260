"""The packages of an image: its layers' databases, as a container made of them would see them.

Not here: reading a layer (`layer`).
"""

from collections.abc import Sequence

import msgspec

from isthmus.report.packages.layer import Database, LayerFacts
from isthmus.report.packages.model import Package


class ImagePackages(msgspec.Struct, frozen=True):
    """`packages` are sorted; `distribution` is the ID of os-release; `faults` say what could not be read."""

    packages: tuple[Package, ...]
    distribution: str = ""
    title: str = ""
    faults: tuple[str, ...] = ()


def packages_of(layers: Sequence[LayerFacts]) -> ImagePackages:
    """Put layers over one another, the lowest first (OCI image-spec, layer.md, "Whiteouts")."""
    visible: dict[str, Database] = {}
    licences: dict[str, str] = {}
    release: dict[str, str] = {}
    faults: list[str] = []
    for facts in layers:
        gone = [path for path in visible if _is_gone(path, facts)]
        for path in gone:
            del visible[path]
        visible.update({database.path: database for database in facts.databases})
        licences.update(facts.licences)
        release = facts.release or release
        if facts.fault:
            faults.append(f"a layer was not read to its end: {facts.fault}")
    faults += [f"{database.path}: {database.fault}" for database in visible.values() if database.fault]
    found = {_licensed(package, licences) for database in visible.values() for package in database.packages}
    return ImagePackages(
        tuple(sorted(found)), release.get("ID", ""), release.get("PRETTY_NAME", ""), tuple(sorted(faults))
    )


def _is_gone(path: str, facts: LayerFacts) -> bool:
    if any(path == hidden or path.startswith(f"{hidden}/") for hidden in facts.hidden):
        return True
    return any(not place or path.startswith(f"{place}/") for place in facts.opaque)


def _licensed(package: Package, licences: dict[str, str]) -> Package:
    if package.kind != "deb" or package.license:
        return package
    return msgspec.structs.replace(package, license=licences.get(package.name, ""))
