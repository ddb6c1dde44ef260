"""The source `helm:`, end to end with whichever renderer this machine has."""

from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.helm import engine as engine_module
from isthmus.scan.helm.binary import find_helm
from isthmus.scan.helm.documents import documents
from isthmus.scan.helm.request import ChartRequest, Renderer, RenderError
from isthmus.scan.helm.sdk import SdkRenderer, is_available
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.helm import read
from tests.scan_sources.conftest import CHART_FILE, MakeChart, write_archive, write_tree

needs_renderer = pytest.mark.skipif(not (is_available() or find_helm()), reason="neither helm nor helm-python-sdk")
needs_sdk = pytest.mark.skipif(not is_available(), reason="helm-python-sdk is not installed")


def scan(text: str) -> list[Document | Item | Ref]:
    return list(read(SourceSpec.parse(text)))


def images(found: list[Document | Item | Ref]) -> list[str]:
    assert not [thing for thing in found if isinstance(thing, Item)], found
    return sorted(
        container["image"]
        for thing in found
        if isinstance(thing, Document) and thing.kind == "Pod"
        for container in thing.data["spec"]["containers"]
    )


@needs_renderer
def test_a_chart_directory_and_its_archive_say_the_same(make_chart: MakeChart, tmp_path: Path) -> None:
    chart = make_chart({})
    archive = write_archive(tmp_path / "web-0.1.0.tgz", chart)
    (document,) = scan(f"helm:{chart}?name=shop&namespace=prod")
    assert isinstance(document, Document)
    assert document.source == "helm:web templates/pod.yaml"
    assert document.object_id == "Pod/prod/shop"
    assert scan(f"helm:{archive}?name=shop&namespace=prod") == [document]


@needs_renderer
def test_later_values_files_win_and_set_wins_over_them(make_chart: MakeChart, tmp_path: Path) -> None:
    chart = make_chart({})
    (tmp_path / "one.yaml").write_text("image: {repository: one.example/a, tag: '1'}")
    (tmp_path / "two.yaml").write_text("image: {tag: '2'}")
    files = f"values={tmp_path}/one.yaml&values={tmp_path}/two.yaml"
    assert images(scan(f"helm:{chart}?{files}")) == ["one.example/a:2"]
    assert images(scan(f"helm:{chart}?{files}&set=image.tag%3D3")) == ["one.example/a:3"]


def test_set_changes_one_element_of_a_list(make_chart: MakeChart, engine: Renderer) -> None:
    chart = make_chart({"templates/pod.yaml": "v: {{ .Values.a | toJson }}\nw: {{ .Values.b | toJson }}\n"})
    request = ChartRequest(
        chart=str(chart),
        values=("a: [{x: 1, k: 2}, {x: 3}]\nb: [1, 2, 3]",),
        sets=(("set", r"a[1].x=9,b={7\,7,8}"),),
    )
    (document,) = documents(engine.render(request), "helm:web")
    assert isinstance(document, Document)
    assert document.data == {"v": [{"x": 1, "k": 2}, {"x": 9}], "w": ["7,7", 8]}


def test_set_json_replaces_and_null_removes(make_chart: MakeChart, engine: Renderer) -> None:
    chart = make_chart({"templates/pod.yaml": "v: {{ .Values.a | toJson }}\nw: {{ .Values.image | toJson }}\n"})
    request = ChartRequest(
        chart=str(chart),
        values=("a: {b: {c: 1, d: 2}, e: 5}",),
        sets=(
            ("set-json", 'a.b={"c":[1,{"x":"y,z"}]},a.f="g"'),
            ("set", "image.tag=null"),
            ("set-string", "a.e=6"),
        ),
    )
    (document,) = documents(engine.render(request), "helm:web")
    assert isinstance(document, Document)
    expected = {"b": {"c": [1, {"x": "y,z"}]}, "e": "6", "f": "g"}
    assert document.data == {"v": expected, "w": {"repository": "example.org/web"}}


def test_versions_of_kubernetes_and_of_its_interfaces(make_chart: MakeChart, engine: Renderer) -> None:
    text = (
        'kube: {{ .Capabilities.KubeVersion.Version }}\nhas: {{ .Capabilities.APIVersions.Has "a.example/v1" }}\n'
    )
    chart = make_chart({"templates/pod.yaml": text})
    request = ChartRequest(chart=str(chart), kube_version="1.29.3", api_versions=("a.example/v1",))
    (document,) = documents(engine.render(request), "helm:web")
    assert isinstance(document, Document)
    assert document.data == {"kube": "v1.29.3", "has": True}


def test_subcharts_definitions_hooks_and_comments_behind_dashes(make_chart: MakeChart, engine: Renderer) -> None:
    hook = 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: h\n  annotations: {"helm.sh/hook": "%s"}\n'
    chart = make_chart(
        {
            "Chart.yaml": CHART_FILE + "dependencies: [{name: sub, version: 0.1.0, condition: sub.enabled}]\n",
            "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
            "charts/sub/templates/x.yaml": "kind: Sub\napiVersion: v1\nmetadata: {name: x}\n",
            "crds/crd.yaml": "kind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\n",
            "templates/test.yaml": hook % "test-success",
            "templates/before.yaml": hook % "pre-install,pre-upgrade",
            "templates/two.yaml": "---# one\nkind: A\napiVersion: v1\n---# two\nkind: B\napiVersion: v1\n",
            "templates/NOTES.txt": "Thank you: {{ .Release.Name }}",
        }
    )
    found = list(documents(engine.render(ChartRequest(chart=str(chart))), "helm:web"))
    by_place = {(thing.source, thing.kind): thing for thing in found if isinstance(thing, Document)}
    assert set(by_place) == {
        ("helm:web charts/sub/templates/x.yaml", "Sub"),
        ("helm:web crds/crd.yaml", "CustomResourceDefinition"),
        ("helm:web templates/before.yaml", "Pod"),
        ("helm:web templates/pod.yaml", "Pod"),
        ("helm:web templates/test.yaml", "Pod"),
        ("helm:web templates/two.yaml", "A"),
        ("helm:web templates/two.yaml", "B"),
    }
    assert by_place["helm:web templates/test.yaml", "Pod"].when == "test"
    assert by_place["helm:web templates/before.yaml", "Pod"].when == "always"
    assert by_place["helm:web templates/before.yaml", "Pod"].note == "Helm hook: pre-install, pre-upgrade"
    off = ChartRequest(chart=str(chart), data={"sub": {"enabled": False}})
    assert not [t for t in engine.render(off) if t.path.startswith("charts/sub/templates")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"templates/bad.yaml": '{{ required "set the key" .Values.key }}'}, "set the key"),
        ({"templates/bad.yaml": "{{ .Values.a.b.c }}"}, "nil pointer"),
        ({"templates/bad.yaml": "{{ if }}"}, "missing value for if"),
        ({"Chart.yaml": CHART_FILE + "dependencies: [{name: gone, version: 1.0.0}]\n"}, "gone"),
        ({"values.schema.json": '{"required": ["port"]}'}, "port"),
        ({"Chart.yaml": ": : :"}, ""),
    ],
)
def test_what_does_not_render_is_an_item_with_the_message(
    make_chart: MakeChart, engine: Renderer, files: dict[str, str], message: str
) -> None:
    with pytest.raises(RenderError) as caught:
        engine.render(ChartRequest(chart=str(make_chart(files))))
    assert message in caught.value.message
    # The renderer can be used again.
    make_chart(
        {path: "kind: A\n" if path.endswith("bad.yaml") else "" for path in files} | {"Chart.yaml": CHART_FILE}
    )


@needs_renderer
def test_a_failure_is_an_item_and_annotations_are_reported_all_the_same(make_chart: MakeChart) -> None:
    annotations = (
        "annotations:\n"
        "  artifacthub.io/images: |\n    - name: a\n      image: quay.io/x/a:1\n"
        "  images: |\n    - docker.io/x/b:2\n    - image: 'NOT AN IMAGE'\n"
    )
    chart = make_chart({"Chart.yaml": CHART_FILE + annotations, "templates/bad.yaml": '{{ fail "no" }}'})
    found = scan(f"helm:{chart}")
    refs = [thing for thing in found if isinstance(thing, Ref)]
    assert [ref.name for ref in refs] == ["quay.io/x/a:1", "docker.io/x/b:2"]
    assert {ref.findings[0].rule for ref in refs} == {"chart-annotation"}
    assert not any(ref.is_locked for ref in refs)
    items = [thing for thing in found if isinstance(thing, Item)]
    assert [item.what for item in items] == ["NOT AN IMAGE", str(chart)]
    assert "no" in items[1].why
    assert "values=" in items[1].hint


@needs_renderer
def test_text_that_is_not_yaml_is_an_item_and_the_rest_is_read(make_chart: MakeChart) -> None:
    chart = make_chart({"templates/bad.yaml": 'a: {{ "[" }}\n', "templates/odd.yaml": "just text\n"})
    found = scan(f"helm:{chart}")
    kinds = [type(thing).__name__ for thing in found]
    assert "Item" in kinds


def test_no_renderer_says_what_to_install(make_chart: MakeChart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "find_helm", lambda: None)
    monkeypatch.setattr(engine_module, "is_available", lambda: False)
    (item,) = scan(f"helm:{make_chart({})}")
    assert isinstance(item, Item)
    assert "isthmus[helm]" in item.hint


def test_a_registry_without_helm_is_an_item_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (item,) = scan("helm:oci://registry.example/charts/web:1.0.0")
    assert isinstance(item, Item)
    assert ".tgz" in item.hint


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for value, code in ((tmp_path / "none", "file-not-found"), (tmp_path, "invalid-source")):
        with pytest.raises(UsageError) as caught:
            scan(f"helm:{value}")
        assert caught.value.code == code
    chart = write_tree(tmp_path / "c", {"Chart.yaml": CHART_FILE})
    with pytest.raises(UsageError) as caught:
        scan(f"helm:{chart}?values={tmp_path}/none.yaml")
    assert caught.value.code == "file-not-found"
    with pytest.raises(UsageError):
        scan(f"helm:{chart}?vaules=x")


@needs_sdk
def test_more_text_than_any_platform_has_is_refused(make_chart: MakeChart) -> None:
    engine = SdkRenderer()
    flood = '{{ range until 1000 }}a: {{ repeat 100000 "x" }}\n---\n{{ end }}'
    with pytest.raises(RenderError, match=r"larger than|crashed|status"):
        engine.render(ChartRequest(chart=str(make_chart({"templates/flood.yaml": flood}))))
    engine.close()


@needs_sdk
def test_a_chart_that_hangs_or_eats_memory_ends_alone(make_chart: MakeChart) -> None:
    engine = SdkRenderer(timeout=3, memory=1 << 31)
    try:
        endless = "{{ range untilStep 0 2000000000 1 }}{{ end }}"
        with pytest.raises(RenderError, match=r"longer than|crashed"):
            engine.render(ChartRequest(chart=str(make_chart({"templates/bad.yaml": endless}))))
        good = make_chart({"templates/bad.yaml": "kind: A\n"})
        assert engine.render(ChartRequest(chart=str(good)))
    finally:
        engine.close()
