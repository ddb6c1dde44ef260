"""Building kustomizations without kustomize: the same objects as kustomize makes, or none at all."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.scan.helm.request import RenderError
from isthmus.scan.kustomize import build as with_tool
from isthmus.scan.kustomize import subset
from isthmus.scan.kustomize.images import changed
from isthmus.scan.kustomize.patches import apply_operations, merge
from tests.scan_sources.conftest import write_tree

BASE = {
    "base/kustomization.yaml": "resources: [deploy.yaml, more.yaml]\nnamePrefix: pre-\n",
    "base/deploy.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {tier: front}}\nspec:\n"
        "  template:\n    spec:\n      initContainers: [{name: i, image: 'busybox:1.36'}]\n"
        "      containers:\n        - {name: main, image: 'nginx:1.25', env: [{name: A, value: '1'}], args: [a]}\n"
        "        - {name: side, image: 'quay.io/x/side@sha256:" + "a" * 64 + "'}\n"
    ),
    "base/more.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {image: 'nginx:1.25'}\n---\n"
        "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"
        "spec: {image: 'nginx:1.25', containers: [{name: m, image: 'nginx:1.25'}, {name: n, image: 'b:1'}]}\n---\n"
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: batch/v1, kind: CronJob, metadata: {name: j}, spec:"
        " {jobTemplate: {spec: {template: {spec: {containers: [{name: x, image: 'localhost:5000/nginx'}]}}}}}}]\n"
    ),
}
PATCH = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s}\nspec: {template: {spec: %s}}\n"
OVER = "resources: [../base]\n"
CASES: dict[str, dict[str, str]] = {
    "plain": {"kustomization.yaml": OVER},
    "new tag": {"kustomization.yaml": OVER + "images: [{name: nginx, newTag: '2'}]\n"},
    "tag that is a number": {"kustomization.yaml": OVER + "images: [{name: busybox, newTag: '1.40'}]\n"},
    "new name": {"kustomization.yaml": OVER + "images: [{name: nginx, newName: r.site:5000/web}]\n"},
    "digest": {
        "kustomization.yaml": OVER + f"images: [{{name: nginx, digest: 'sha256:{'b' * 64}'}}]\n"
    },
    "tag on a digest": {"kustomization.yaml": OVER + "images: [{name: quay.io/x/side, newTag: '9'}]\n"},
    "host with a port": {
        "kustomization.yaml": OVER + "images: [{name: 'localhost:5000/nginx', newTag: '9'}]\n"
    },
    "one after the other": {
        "kustomization.yaml": OVER + "images: [{name: nginx, newName: a}, {name: a, newTag: '7'}]\n"
    },
    "strategic merge": {
        "kustomization.yaml": OVER + "patches: [{path: p.yaml}]\n",
        "p.yaml": PATCH
        % ("web", "{containers: [{name: main, image: 'p:1', args: [c]}, {name: new, image: 'n:1'}]}"),
    },
    "by the name with its prefix": {
        "kustomization.yaml": OVER + "patchesStrategicMerge: [p.yaml]\n",
        "p.yaml": PATCH
        % ("pre-web", "{initContainers: [{name: i, $patch: delete}], containers: [{name: side, args: [x]}]}"),
    },
    "replaced lists": {
        "kustomization.yaml": OVER + "patches: [{path: p.yaml}]\n",
        "p.yaml": PATCH % ("web", "{containers: [{$patch: replace}, {name: only, image: 'only:1'}]}"),
    },
    "deleted object": {
        "kustomization.yaml": OVER + "patches: [{path: p.yaml}]\n",
        "p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n$patch: delete\n",
    },
    "custom resource": {
        "kustomization.yaml": OVER + "patches: [{path: p.yaml}]\n",
        "p.yaml": "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"
        "spec: {image: null, containers: [{name: m, image: 'p:1'}]}\n",
    },
    "operations": {
        "kustomization.yaml": OVER + "patches: [{path: p.yaml, target: {kind: Deploy.*, name: pre-.*}}]\n",
        "p.yaml": "- {op: replace, path: /spec/template/spec/containers/0/image, value: 'o:1'}\n"
        "- {op: remove, path: /spec/template/spec/initContainers}\n"
        "- {op: add, path: /spec/template/spec/containers/1, value: {name: z, image: 'z:1'}}\n"
        "- {op: copy, from: /metadata/labels, path: /spec/template/labels}\n",
    },
    "old operations before images": {
        "kustomization.yaml": OVER + "images: [{name: o, newTag: '2'}]\n"
        "patchesJson6902: [{path: p.yaml, target: {group: apps, version: v1, kind: Deployment, name: web}}]\n",
        "p.yaml": "- {op: replace, path: /spec/template/spec/containers/0/image, value: 'o:1'}\n",
    },
    "selectors": {
        "kustomization.yaml": OVER + "labels: [{pairs: {a: b}}]\npatches: [{path: p.yaml,"
        " target: {labelSelector: 'tier=front'}}, {path: q.yaml, target: {labelSelector: 'tier!=front'}}]\n",
        "p.yaml": "kind: Any\napiVersion: v1\nmetadata: {name: any}\nspec: {replicas: 3}\n",
        "q.yaml": "- {op: add, path: /x, value: 1}\n",
    },
    "component": {
        "kustomization.yaml": OVER + "components: [part]\nnamespace: prod\nnameSuffix: -x\n",
        "part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        "images: [{name: nginx, newTag: component}]\nresources: [pod.yaml]\n",
        "part/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
        "spec: {containers: [{name: m, image: nginx}]}\n",
    },
    "generated": {
        "kustomization.yaml": "configMapGenerator: [{name: g, literals: ['a=nginx:1'], files: [f.txt, k=f.txt],"
        " envs: [e.env]}]\ngeneratorOptions: {disableNameSuffixHash: true}\n",
        "f.txt": "image: x\n",
        "e.env": "# no\nE=1\n",
    },
}  # fmt: skip
UNKNOWN = {
    "replacements": "replacements: [{source: {kind: ConfigMap}, targets: []}]\n",
    "transformers": "transformers: [x.yaml]\n",
    "charts": "helmCharts: [{name: x}]\n",
    "remote": "resources: [https://example.org/x.yaml]\n",
    "merged generators": "configMapGenerator: [{name: c, behavior: merge, literals: [a=b]}]\n",
    "patterns": "resources: [../base]\nimages: [{name: 'ngin.*', newTag: '1'}]\n",
    "no match": "resources: [../base]\npatches: [{patch: 'kind: X\n\n    metadata: {name: none}'}]\n",
    "directives": "resources: [../base]\npatches: [{path: p.yaml}]\n",
}


def comparable(objects: list[Any]) -> list[str]:
    for value in objects:
        for part in (value.get("metadata", {}), value):
            for key in ("labels", "creationTimestamp"):
                part.pop(key, None)
    return sorted(re.sub(r"'(?:labels|template)': \{\}, ", "", repr(sort(value))) for value in objects)


def sort(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sort(value[key]) for key in sorted(value) if key != "labels"}
    return [sort(item) for item in value] if isinstance(value, list) else value


@pytest.mark.skipif(not with_tool.find_builder(), reason="neither kustomize nor kubectl is installed")
@pytest.mark.parametrize("name", CASES)
def test_the_same_objects_as_kustomize_makes(name: str, tmp_path: Path) -> None:
    write_tree(tmp_path, BASE | {f"over/{path}": text for path, text in CASES[name].items()})
    theirs = with_tool.build(str(tmp_path / "over"))
    assert comparable(subset.build(str(tmp_path / "over"))) == comparable(theirs)
    assert theirs


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_refused(name: str, tmp_path: Path) -> None:
    write_tree(tmp_path, BASE | {"over/kustomization.yaml": UNKNOWN[name]})
    patch = PATCH % ("web", "{containers: [{name: main, $setElementOrder/env: []}]}")
    write_tree(tmp_path, {"over/p.yaml": patch})
    with pytest.raises(RenderError):
        subset.build(str(tmp_path / "over"))


@pytest.mark.parametrize(
    ("image", "entry", "expected"),
    [
        ("a", {"newTag": 5}, "a:5"),
        ("r:5000/a:1@sha256:b", {"newTag": "2"}, "r:5000/a:2"),
        ("a:1", {"newTag": "2", "digest": "sha256:c"}, "a:2@sha256:c"),
        ("a:1", {"tagSuffix": "-x"}, "a:1-x"),
        ("a:1@sha256:b", {"newName": "z"}, "z:1@sha256:b"),
    ],
)
def test_changed_images(image: str, entry: dict[str, Any], expected: str) -> None:
    assert changed(image, entry) == expected


json = st.recursive(
    st.none() | st.integers() | st.text("ab$/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab$-0/~", max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["spec", "containers", "$patch"]), json), st.lists(json, max_size=3))
def test_any_patch_is_applied_or_refused(patch: dict[str, Any], operations: list[Any]) -> None:
    target: dict[str, Any] = {"kind": "Pod", "spec": {"a": [1]}, "containers": [{"name": "a"}]}
    with contextlib.suppress(RenderError):
        merge(target, patch)
    with contextlib.suppress(RenderError):
        apply_operations(target, operations)
    assert target == {"kind": "Pod", "spec": {"a": [1]}, "containers": [{"name": "a"}]}
