"""SBOMs that somebody attached to an image: found among what crosses, read as CycloneDX or SPDX JSON.

They come as referrers, under cosign's `.sbom` tags, as attestations (in-toto, signed or not), and in the
attestations that builders put into indexes. What they say is passed on as theirs. Not here: our own (`cyclonedx`).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from isthmus.errors import IsthmusError
from isthmus.oci import Descriptor, Manifest
from isthmus.oci.cosign import Shelf, claims_in
from isthmus.report.model import CarriedSbom
from isthmus.report.packages.model import Package, text

MAX_SBOM: Final = 64 * 1024 * 1024
MAX_PACKAGES: Final = 100_000
_PLAIN: Final = ("cyclonedx", "spdx")
_SIGNED: Final = ("application/vnd.dsse.envelope", "application/vnd.dev.sigstore.bundle")
_UNSIGNED: Final = "application/vnd.in-toto+json"
_PURL: Final = re.compile(r"pkg:([a-z0-9.+-]{1,40})/[!-~]{1,1000}", re.IGNORECASE)


class Found(msgspec.Struct, frozen=True):
    """An SBOM and the packages it names."""

    sbom: CarriedSbom
    packages: tuple[Package, ...]


def carried_sboms(shelf: Shelf, manifests: Iterable[Manifest]) -> tuple[list[Found], list[str]]:
    """The SBOMs in these manifests' layers, each once, and what is wrong with those that cannot be read."""
    found: dict[str, Found] = {}
    faults: list[str] = []
    for manifest in manifests:
        for layer in manifest.layers[:64]:
            if not _may_be(layer, manifest) or str(layer.digest) in found:
                continue
            if layer.size > MAX_SBOM:
                faults.append(f"the SBOM {layer.digest} has {layer.size} bytes and was not read")
                continue
            try:
                document = _document(layer, shelf.read(layer))
            except (IsthmusError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                faults.append(f"the SBOM {layer.digest} cannot be read: {str(error)[:120]}")
                continue
            if document is not None:
                kind, packages = document
                sbom = CarriedSbom(kind, str(layer.digest), len(packages))
                found[str(layer.digest)] = Found(sbom, tuple(packages))
    return [found[digest] for digest in sorted(found)], faults


def _may_be(layer: Descriptor, manifest: Manifest) -> bool:
    kind = layer.media_type.lower()
    if kind.startswith(_SIGNED) or kind == _UNSIGNED:
        said = " ".join((layer.annotations or {}).values()) + " ".join(manifest.annotations.values())
        return "spdx" in said.lower() or "cyclonedx" in said.lower()
    return any(word in kind or word in manifest.artifact_type.lower() for word in _PLAIN)


def _document(layer: Descriptor, data: bytes) -> tuple[str, list[Package]] | None:
    if layer.media_type.startswith(_SIGNED):
        body = next((claim.body for claim in claims_in(layer.media_type, layer.annotations or {}, data)), None)
    else:
        body = msgspec.json.decode(data)
        if layer.media_type == _UNSIGNED:
            body = body.get("predicate") if isinstance(body, dict) else None
    if isinstance(body, str):  # cosign keeps some SBOMs as text within the statement
        body = msgspec.json.decode(body)
    if isinstance(body, dict) and isinstance(body.get("Data"), str | dict):
        body = msgspec.json.decode(body["Data"]) if isinstance(body["Data"], str) else body["Data"]
    if not isinstance(body, dict):
        return None
    if body.get("bomFormat") == "CycloneDX":
        return "CycloneDX", list(_cyclonedx(body.get("components")))[:MAX_PACKAGES]
    if "spdxVersion" in body:
        return "SPDX", list(_spdx(body.get("packages")))[:MAX_PACKAGES]
    return None


def _cyclonedx(components: Any, depth: int = 0) -> Iterator[Package]:
    for component in components if isinstance(components, list) and depth < 8 else ():
        if not isinstance(component, dict):
            continue
        if component.get("type") in ("library", "application", "framework") and _words(component, "name"):
            licences = component.get("licenses")
            names = [_licence(each) for each in licences] if isinstance(licences, list) else []
            yield _package(
                _words(component, "name"), _words(component, "version"), _words(component, "purl"),
                " AND ".join(name for name in names if name),
            )  # fmt: skip
        yield from _cyclonedx(component.get("components"), depth + 1)


def _licence(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    inner = entry.get("license")
    if isinstance(inner, dict):
        return _words(inner, "id") or _words(inner, "name")
    return _words(entry, "expression")


def _spdx(packages: Any) -> Iterator[Package]:
    for package in packages if isinstance(packages, list) else ():
        if not isinstance(package, dict) or not _words(package, "name"):
            continue
        refs = package.get("externalRefs")
        locators = [
            _words(ref, "referenceLocator")
            for ref in (refs if isinstance(refs, list) else ())
            if isinstance(ref, dict) and ref.get("referenceType") == "purl"
        ]
        said = [_words(package, key) for key in ("licenseConcluded", "licenseDeclared")]
        licence = next((each for each in said if each not in ("", "NOASSERTION", "NONE")), "")
        yield _package(_words(package, "name"), _words(package, "versionInfo"), "".join(locators[:1]), licence)


def _package(name: str, version: str, purl: str, licence: str) -> Package:
    match = _PURL.fullmatch(purl)
    return Package(match[1].lower() if match else "generic", name, version, "", licence, "", purl if match else "")


def _words(mapping: dict[str, Any], key: str) -> str:
    value = mapping.get(key)
    return text(value[:2000]) if isinstance(value, str) else ""
