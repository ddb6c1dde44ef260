"""`sbom.cdx.json`: everything that crosses and what is inside of it, as a CycloneDX 1.6 document.

What is carried are components with the bundle as their parent; their packages hang below them as dependencies.
Not here: where packages come from (`contents`).
"""

import re
import uuid
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from isthmus import __version__
from isthmus.oci import Reference
from isthmus.report.contents import Inside
from isthmus.report.model import Item
from isthmus.report.packages import Package

_NAMESPACE: Final = uuid.UUID("6b0a2a58-4a0f-5d0c-9d0b-0f2c1f3a5d11")
_EXPRESSION: Final = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)+")
_HASHES: Final = {"sha256": "SHA-256", "sha512": "SHA-512"}


def cyclonedx(bundle: str, name: str, created: str | None, inside: Sequence[Inside]) -> bytes:
    """The document, the same bytes for the same contents."""
    packages = {url: package for each in inside for url, package in each.packages.items()}
    items = [_item(each.item) for each in inside]
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, bundle)}",
        "version": 1,
        "metadata": {
            **({"timestamp": created} if created else {}),
            "tools": {"components": [{"type": "application", "name": "isthmus", "version": __version__}]},
            "component": {"type": "application", "bom-ref": "bundle", "name": name, "version": bundle},
        },
        "components": [*items, *(_package(url, packages[url]) for url in sorted(packages))],
        "dependencies": [
            {"ref": "bundle", "dependsOn": [item["bom-ref"] for item in items]},
            *({"ref": _ref(each.item), "dependsOn": sorted(each.packages)} for each in inside if each.packages),
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def _ref(item: Item) -> str:
    return f"{item.kind}:{item.name}"


def _item(item: Item) -> dict[str, Any]:
    algorithm, _, content = item.digest.partition(":")
    component: dict[str, Any] = {
        "type": "container" if item.kind == "image" else "data" if item.kind == "packages" else "file",
        "bom-ref": _ref(item),
        "name": item.name,
        "version": item.digest,
        "hashes": [{"alg": _HASHES[algorithm], "content": content}],
        "purl": _purl(item),
        "properties": _properties(item),
    }
    if item.licences:
        component["licenses"] = _licences(item.licences)
    references = [
        {
            "type": "bom",
            "url": f"urn:isthmus:blob:{sbom.digest}",
            "comment": f"{sbom.format}, attached by its maker",
        }
        for sbom in item.sboms
    ]
    if item.source.startswith(("https://", "http://")):
        references.append({"type": "vcs", "url": quote(item.source, safe=":/?#[]@!$&'()*+,;=%~")})
    if references:
        component["externalReferences"] = references
    return component


def _purl(item: Item) -> str:
    """`pkg:oci/NAME@DIGEST?repository_url=…&tag=…` (purl-spec, oci)."""
    name = Reference.parse(item.name)
    words = [f"repository_url={quote(name.repository, safe='/')}", *([f"tag={name.tag}"] if name.tag else [])]
    return f"pkg:oci/{name.path.rpartition('/')[2]}@{quote(item.digest, safe='')}?{'&'.join(words)}"


def _properties(item: Item) -> list[dict[str, str]]:
    pairs = [("kind", item.kind), ("size", str(item.size)), ("carried", str(item.carried)), ("host", item.host)]
    pairs += [("component", value) for value in item.components]
    pairs += [("needed-by", value) for value in item.needed_by]
    pairs += [("platform", value) for value in item.platforms]
    if item.title and item.title != item.name:
        pairs.append(("title", item.title))
    if item.distribution:
        pairs.append(("distribution", item.distribution))
    return [{"name": f"isthmus:{key}", "value": value} for key, value in pairs]


def _package(url: str, package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {"type": "library", "bom-ref": url, "name": package.name, "purl": url}
    if package.kind == "generic" and not package.purl:
        del component["purl"]
    if package.version:
        component["version"] = package.version
    if package.license:
        component["licenses"] = _licences([package.license])
    return component


def _licences(names: Sequence[str]) -> list[dict[str, Any]]:
    """An expression may only stand alone; what is not one is a name."""
    if len(names) == 1 and _EXPRESSION.fullmatch(names[0]):
        return [{"expression": names[0]}]
    return [{"license": {"name": name}} for name in names]
