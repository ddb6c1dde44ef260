"""The source `kustomize:` with whichever builder this machine has."""

from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.kustomize.build import find_builder
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.kustomize import read
from tests.scan_sources.conftest import write_tree

needs_builder = pytest.mark.skipif(not find_builder(), reason="neither kustomize nor kubectl is installed")
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: m, image: nginx:1}]}\n"


def scan(root: Path) -> list[Document | Item | Ref]:
    return list(read(SourceSpec("kustomize", str(root))))


@needs_builder
def test_images_patches_and_bases(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "base/kustomization.yaml": "resources: [pod.yaml]\n",
            "base/pod.yaml": POD,
            "over/kustomization.yaml": (
                "resources: [../base]\nimages: [{name: nginx, newName: site/nginx, newTag: '2'}]\n"
                "patches: [{path: patch.yaml, target: {kind: Pod}}]\n"
            ),
            "over/patch.yaml": "- op: add\n  path: /spec/containers/-\n  value: {name: x, image: 'b:1'}\n",
        },
    )
    (document,) = scan(tmp_path / "over")
    assert isinstance(document, Document)
    assert [container["image"] for container in document.data["spec"]["containers"]] == ["site/nginx:2", "b:1"]


def test_a_circle_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"a/kustomization.yaml": "resources: [../b]\n", "b/kustomization.yaml": "components: [../c]\n"}
        | {"c/kustomization.yaml": "bases: [../a]\n"},
    )
    with pytest.raises(UsageError, match="circle") as caught:
        scan(tmp_path / "a")
    assert caught.value.code == "invalid-input"
    assert caught.value.where.endswith("a/kustomization.yaml")


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    write_tree(tmp_path, {"k/kustomization.yaml": "resources: [gone.yaml]\n", "two/Kustomization": "{}\n"})
    write_tree(tmp_path, {"two/kustomization.yml": "{}\n", "list/kustomization.yaml": "[]\n"})
    expected = {"none": "file-not-found", ".": "invalid-source", "k": "invalid-input"}
    for place, code in (expected | {"two": "invalid-source", "list": "invalid-input"}).items():
        with pytest.raises(UsageError) as caught:
            scan(tmp_path / place)
        assert caught.value.code == code


def test_no_builder_is_an_item_and_remote_bases_are_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    resources = "resources: ['https://example.org/x.yaml', 'https://github.com/a/b//deploy?ref=v1']\n"
    ref, git, item = scan(write_tree(tmp_path, {"kustomization.yaml": resources}))
    assert isinstance(ref, Ref)
    assert isinstance(git, Ref)
    assert isinstance(item, Item)
    assert (ref.kind, git.kind) == ("file", "git")
    assert "kustomize" in item.hint


@needs_builder
def test_a_failure_of_the_builder_is_an_item(tmp_path: Path) -> None:
    (item,) = scan(write_tree(tmp_path, {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": "kind: Pod\n"}))
    assert isinstance(item, Item)
    assert "not built" in item.why
