"""sbom.cdx.json is valid CycloneDX 1.6, and what others' SBOMs say is read without trust."""

import json
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.report import make_release
from isthmus.report.carried import carried_sboms
from tests.report.conftest import NGINX, Platform, attach, layer, put


def test_it_is_valid_by_the_official_schema(platform: Platform) -> None:
    """The schemas are those that the package cyclonedx-python-lib brings."""
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib, which has the schemas, is not installed")
    schemas = pytest.importorskip("jsonschema_rs")
    place = resources.files("cyclonedx.schema") / "_res"

    def schema(name: str) -> Any:
        return json.loads((place / name).read_text())

    names = ("spdx", "jsf-0.82", "cryptography-defs")
    others = [
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema(f"{name}.SNAPSHOT.schema.json"))
        for name in names
    ]
    registry = schemas.Registry(others)
    validator = schemas.Draft7Validator(schema("bom-1.6.SNAPSHOT.schema.json"), registry=registry)
    put(platform.store, "docker.io/library/redis", "7", [layer({"x": b"1"})], {
        "org.opencontainers.image.licenses": "BSD-3-Clause AND MIT",
        "org.opencontainers.image.source": "https://github.com/x y/z",
    })  # fmt: skip
    _, files = make_release(platform.plan(), platform.store, platform.asked())
    document = json.loads(files["sbom.cdx.json"])
    errors = [str(error) for error in validator.iter_errors(document)]
    assert errors == []
    refs = [component["bom-ref"] for component in document["components"]]
    assert len(refs) == len(set(refs))
    known = {*refs, "bundle"}
    assert all(set(each["dependsOn"]) <= known and each["ref"] in known for each in document["dependencies"])


def test_an_sbom_that_cannot_be_read_is_said(platform: Platform) -> None:
    nginx = platform.store.manifest(NGINX, "1.22.1")
    attach(platform.store, NGINX, nginx, "application/spdx+json", b"{not json")
    release, _ = make_release(platform.plan(), platform.store, platform.asked())
    item = next(each for each in release.items if each.name == f"{NGINX}:1.22.1")
    assert any("cannot be read" in note for note in item.notes)
    assert [sbom.format for sbom in item.sboms] == ["CycloneDX"]


class Shelf:
    """One blob."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, blob: Descriptor) -> bytes:
        return self._data

    def attached(self, repository: str, digest: Digest) -> tuple[Manifest, ...]:
        return ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["bomFormat", "components", "name", "type", "licenses", "license", "spdxVersion", "packages",
             "externalRefs", "predicate", "Data", "purl", "referenceType", "referenceLocator"]
        ),
        inner | st.sampled_from(["CycloneDX", "library", "purl"]),
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["application/vnd.cyclonedx+json", "application/spdx+json"]))
def test_any_json_is_taken_or_refused(document: Any, kind: str) -> None:
    data = json.dumps(document).encode()
    layer = {"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data)}
    raw = {
        "schemaVersion": 2,
        "config": {**layer, "mediaType": "application/vnd.oci.empty.v1+json"},
        "layers": [layer],
    }
    try:
        manifest = parse_manifest(json.dumps(raw).encode())
    except UsageError:
        return
    found, faults = carried_sboms(Shelf(data), [manifest])
    assert len(found) <= 1
    assert len(faults) <= 1
