"""Fixtures of the scan tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.inventory.model import Inventory
from isthmus.scan.document import Document
from isthmus.scan.run import scan_documents
from isthmus.scan.yaml_reader import parse_all

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ck8s"


@pytest.fixture
def find() -> Callable[[str], Inventory]:
    """Scans YAML text."""

    def scan(text: str) -> Inventory:
        return scan_documents(Document("manifests:test.yaml", data) for data in parse_all(text, "test.yaml"))

    return scan


@pytest.fixture
def names(find: Callable[[str], Inventory]) -> Callable[[str], dict[str, str]]:
    """Scans YAML text for references: name to `confidence/when`, without what is certain or likely, always."""

    def scan(text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for ref in find(text).references:
            kind = "" if ref.kind == "image" else f"{ref.kind}/"
            found[ref.name] = kind + (ref.confidence if ref.when == "always" else f"{ref.confidence}/{ref.when}")
        return found

    return scan


@pytest.fixture
def container(names: Callable[[str], dict[str, str]]) -> Callable[[str], dict[str, str]]:
    """Scans a Deployment with one container of the image `x/app:1`, given the container's other fields."""

    def scan(fields: str) -> dict[str, str]:
        indented = fields.strip("\n").replace("\n", "\n        ")
        found = names(
            f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app, namespace: ns}}
spec:
  template:
    spec:
      containers:
      - name: app
        image: x/app:1
        {indented}
"""
        )
        assert found.pop("docker.io/x/app:1") == "certain"
        return found

    return scan


@pytest.fixture
def config_map(names: Callable[[str], dict[str, str]]) -> Callable[[str], dict[str, str]]:
    """Scans a ConfigMap, given its data."""

    def scan(data: str) -> dict[str, str]:
        indented = data.strip("\n").replace("\n", "\n  ")
        return names(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  {indented}\n")

    return scan


@pytest.fixture(scope="session")
def shared() -> Path:
    """The rendered platform with its truth; the test is skipped where it is not there."""
    if not (SHARED / "truth").is_dir():
        pytest.skip(f"{SHARED} is not there")
    return SHARED
