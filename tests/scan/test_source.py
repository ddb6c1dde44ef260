import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.model import Ref
from isthmus.scan.run import scan
from isthmus.scan.source import SOURCES, SourceSpec, reader

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: x/%s:1}]}\n"


def test_options() -> None:
    spec = SourceSpec.parse("helm:./chart?values=f.yaml&values=g.yaml&set=a.b%3Dc%26d&kube-version=v1.30.1+k3s1&&")
    assert (spec.kind, spec.value) == ("helm", "./chart")
    assert spec.many("values") == ["f.yaml", "g.yaml"]
    assert spec.one("set") == "a.b=c&d"
    assert spec.one("kube-version") == "v1.30.1+k3s1"
    assert spec.one("name", "release") == "release"
    assert str(spec) == "helm:./chart"
    spec.allow("values", "set", "kube-version")
    with pytest.raises(UsageError, match="2 times"):
        spec.one("values")
    with pytest.raises(UsageError) as caught:
        spec.allow("value", "sets", "kube-versions")
    assert "did you mean" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "x", "helm", "helm:", "helmm:x", ":x", "manifests:a?b", "manifests:a?=b", "images:a\0b"]
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        SourceSpec.parse(text)
    assert caught.value.code == "invalid-source"
    assert all(kind in caught.value.hint for kind in SOURCES)


def test_kinds_are_suggested() -> None:
    with pytest.raises(UsageError, match="did you mean 'manifests'"):
        SourceSpec.parse("manifest:x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("manifests:a.yaml", "dir/a.yaml"),
        ("manifests:/a.yaml", "/a.yaml"),
        ("manifests:-", "-"),
        ("helm:oci://r.io/c", "oci://r.io/c"),
        ("kubeadm:1.30.0", "1.30.0"),
    ],
)
def test_paths_in_a_file_count_from_its_directory(text: str, value: str) -> None:
    assert SourceSpec.parse(text).under("dir").value == value


def test_options_that_are_paths_do_too() -> None:
    spec = SourceSpec.parse("helm:c?values=f.yaml&name=n").under("dir")
    assert spec.options == {"values": ["dir/f.yaml"], "name": ["n"]}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_is_named_as_its_module(kind: str) -> None:
    assert SOURCES[kind] == f"isthmus.scan.sources.{kind}:read"
    if kind in ("manifests", "images"):
        assert callable(reader(SourceSpec(kind, "x")))


def test_directories(tmp_path: Path) -> None:
    (tmp_path / "b" / ".git").mkdir(parents=True)
    (tmp_path / "a.yaml").write_text(POD % "a")
    (tmp_path / "b" / "b.yml").write_text(POD % "b")
    (tmp_path / "b" / "c.json").write_text(
        '{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"x/c:1"}]}}'
    )
    (tmp_path / "b" / ".git" / "d.yaml").write_text(POD % "d")
    (tmp_path / "b" / "e.txt").write_text(POD % "e")
    inventory = scan([f"manifests:{tmp_path}"])
    assert [ref.name for ref in inventory.references] == ["docker.io/x/a:1", "docker.io/x/b:1", "docker.io/x/c:1"]
    assert inventory.references[0].findings[0].source == f"manifests:{tmp_path}/a.yaml"
    assert inventory.statistics == {"documents": 3, "sources": 1}


def test_compressed_files(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.yaml.gz").write_bytes(gzip.compress((POD % "a").encode()))
    assert [ref.name for ref in scan([f"manifests:{tmp_path}"]).references] == ["docker.io/x/a:1"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "in"
    file.write_text(POD % "a")
    with file.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert [ref.name for ref in scan(["manifests:-"]).references] == ["docker.io/x/a:1"]


def test_nothing_to_read(tmp_path: Path) -> None:
    (item,) = scan([f"manifests:{tmp_path}/none.yaml"]).unresolved
    assert item.what == f"{tmp_path}/none.yaml"
    with pytest.raises(UsageError, match="no manifests"):
        scan([f"manifests:{tmp_path}"])


def test_lists_of_images(tmp_path: Path) -> None:
    file = tmp_path / "images.txt"
    file.write_text("# all\nnginx\n  quay.io/a/b:1@sha256:%s # why\n\nNot An Image\n" % ("0" * 64))
    inventory = scan([f"images:{file}"])
    assert [ref.name for ref in inventory.references] == [
        "docker.io/library/nginx:latest",
        f"quay.io/a/b:1@sha256:{'0' * 64}",
    ]
    assert inventory.references[0].as_written == ("nginx",)
    assert inventory.references[0].findings[0].path == "line 2"
    (item,) = inventory.unresolved
    assert item.what == "Not An Image"


def test_the_same_from_two_sources_is_one_reference(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POD % "a")
    (tmp_path / "images.txt").write_text("docker.io/x/a:1\n")
    (ref,) = scan([f"manifests:{tmp_path}/a.yaml", f"images:{tmp_path}/images.txt"]).references
    assert [finding.rule for finding in ref.findings] == ["image-list", "pod-container"]
    assert ref.as_written == ("docker.io/x/a:1", "x/a:1")


def test_what_a_source_cannot_read_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(spec: SourceSpec) -> Iterator[Ref]:
        yield Ref("image", "docker.io/x/y:1")
        raise IsthmusError("unresolved", "no such thing", where="there", hint="do this")

    def fake(_spec: SourceSpec) -> Callable[[SourceSpec], Iterator[Ref]]:
        return read

    monkeypatch.setattr("isthmus.scan.run.reader", fake)
    inventory = scan(["images:x"])
    assert len(inventory.references) == 1
    (item,) = inventory.unresolved
    assert (item.what, item.why, item.hint) == ("there", "no such thing", "do this")
