"""The source `helmfile:`, with a real helmfile where there is one."""

import shutil
from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.model import Item
from isthmus.scan.document import Document
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.helmfile import read
from tests.scan_sources.conftest import MakeChart, write_tree

needs_helmfile = pytest.mark.skipif(
    not (shutil.which("helmfile") and shutil.which("helm")), reason="helmfile or helm is not installed"
)
STATE = """\
environments: {default: {}, prod: {}}
---
releases:
  - {name: shop, namespace: web, chart: ./web, values: [{image: {tag: {{ .Environment.Name }}}}]}
  - {name: off, chart: ./web, installed: false}
"""


@needs_helmfile
def test_every_installed_release(make_chart: MakeChart, tmp_path: Path) -> None:
    make_chart({"templates/NOTES.txt": "thanks"})
    state = write_tree(tmp_path, {"helmfile.yaml.gotmpl": STATE}) / "helmfile.yaml.gotmpl"
    (document,) = read(SourceSpec.parse(f"helmfile:{state}?environment=prod"))
    assert isinstance(document, Document)
    assert document.source == f"helmfile:{state} web/templates/pod.yaml"
    assert document.object_id == "Pod/web/shop"
    assert document.data["spec"]["containers"][0]["image"] == "example.org/web:prod"


@needs_helmfile
def test_a_failure_is_an_item_with_the_message(tmp_path: Path) -> None:
    state = write_tree(tmp_path, {"helmfile.yaml": "releases: [{name: a, chart: ./gone}]\n"}) / "helmfile.yaml"
    (item,) = read(SourceSpec("helmfile", str(state)))
    assert isinstance(item, Item)
    assert "gone" in item.why


def test_no_helmfile_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    write_tree(tmp_path, {"helmfile.yaml": "releases: []\n"})
    (item,) = read(SourceSpec("helmfile", str(tmp_path / "helmfile.yaml")))
    assert isinstance(item, Item)
    assert "install helmfile" in item.hint
    with pytest.raises(UsageError):
        list(read(SourceSpec("helmfile", str(tmp_path / "gone.yaml"))))
