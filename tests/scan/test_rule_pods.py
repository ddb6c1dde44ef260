from collections.abc import Callable

import pytest

from isthmus.inventory.model import Inventory

Find = Callable[[str], Inventory]
Names = Callable[[str], dict[str, str]]

POD = "{containers: [{name: a, image: x/main:1}], initContainers: [{name: b, image: x/init:1}]}"
WORKLOADS = {
    "v1/Pod": (".spec", f"spec: {POD}"),
    "v1/ReplicationController": (".spec.template.spec", f"spec: {{template: {{spec: {POD}}}}}"),
    "v1/PodTemplate": (".template.spec", f"template: {{spec: {POD}}}"),
    "apps/v1/Deployment": (".spec.template.spec", f"spec: {{template: {{spec: {POD}}}}}"),
    "apps/v1/StatefulSet": (".spec.template.spec", f"spec: {{template: {{spec: {POD}}}}}"),
    "apps/v1/DaemonSet": (".spec.template.spec", f"spec: {{template: {{spec: {POD}}}}}"),
    "apps/v1/ReplicaSet": (".spec.template.spec", f"spec: {{template: {{spec: {POD}}}}}"),
    "batch/v1/Job": (".spec.template.spec", f"spec: {{template: {{spec: {POD}}}}}"),
    "batch/v1/CronJob": (
        ".spec.jobTemplate.spec.template.spec",
        f"spec: {{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}",
    ),
}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_workload_kind(find: Find, kind: str) -> None:
    version, _, name = kind.rpartition("/")
    path, spec = WORKLOADS[kind]
    found = find(f"apiVersion: {version}\nkind: {name}\nmetadata: {{name: n, namespace: ns}}\n{spec}\n").references
    assert [ref.name for ref in found] == ["docker.io/x/init:1", "docker.io/x/main:1"]
    finding = found[1].findings[0]
    assert (finding.source, finding.object, finding.path, finding.rule, finding.confidence, finding.when) == (
        "manifests:test.yaml",
        f"{name}/ns/n",
        f"{path}.containers[0].image",
        "pod-container",
        "certain",
        "always",
    )


def test_ephemeral_containers_and_image_volumes(names: Names) -> None:
    found = names(
        """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  ephemeralContainers: [{name: e, image: "quay.io/x/debug@sha256:%s"}]
  volumes: [{name: v, image: {reference: ghcr.io/x/model:2}}, {name: w, emptyDir: {}}]
"""
        % ("a" * 64)
    )
    assert found == {f"quay.io/x/debug@sha256:{'a' * 64}": "certain", "ghcr.io/x/model:2": "certain"}


@pytest.mark.parametrize("kind", ["List", "DeploymentList"])
def test_lists(find: Find, kind: str) -> None:
    head = "" if kind == "DeploymentList" else "apiVersion: apps/v1\n  kind: Deployment\n  "
    version = "apps/v1" if kind == "DeploymentList" else "v1"
    found = find(
        f"apiVersion: {version}\nkind: {kind}\nitems:\n- {head}metadata: {{name: n}}\n"
        f"  spec: {{template: {{spec: {POD}}}}}\n"
    )
    assert [ref.findings[0].object for ref in found.references] == ["Deployment/n", "Deployment/n"]
    assert found.references[1].findings[0].path == ".spec.template.spec.containers[0].image"


def test_lists_of_lists(names: Names) -> None:
    inner = f"{{apiVersion: v1, kind: List, items: [{{apiVersion: v1, kind: Pod, spec: {POD}}}]}}"
    assert len(names(f"{{apiVersion: v1, kind: List, items: [{inner}]}}")) == 2


def test_helm_tests_are_marked(names: Names) -> None:
    head = "apiVersion: v1\nkind: Pod\nmetadata: {annotations: {helm.sh/hook: %s}}\n"
    text = head + "spec: {containers: [{image: a/b:1}]}"
    assert names(text % "test") == {"docker.io/a/b:1": "certain/test"}
    assert names(text % "test-success") == {"docker.io/a/b:1": "certain/test"}
    assert names(text % '"pre-install,test"') == {"docker.io/a/b:1": "certain"}
    assert names(text % "post-install") == {"docker.io/a/b:1": "certain"}


def test_windows_nodes_are_conditional(names: Names) -> None:
    spec = "{nodeSelector: {kubernetes.io/os: windows}, containers: [{image: a/b:1}]}"
    text = f"apiVersion: v1\nkind: Pod\nspec: {spec}"
    assert names(text) == {"docker.io/a/b:1": "certain/conditional"}


def test_pods_in_custom_resources_are_likely(find: Find) -> None:
    found = find(f"apiVersion: x.example.com/v1\nkind: Thing\nspec: {{template: {{spec: {POD}}}}}")
    assert {ref.confidence for ref in found.references} == {"likely"}
    assert len(found.references) == 2


@pytest.mark.parametrize("image", ["${IMAGE}", "{{ .Values.image }}", "Not/An/Image", "''", "https://x.y/z"])
def test_what_is_no_name_is_an_item(find: Find, image: str) -> None:
    quoted = image if image == "''" else f'"{image}"'
    found = find(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{image: {quoted}}}]}}")
    assert not found.references
    (item,) = found.unresolved
    assert item.finding is not None
    assert item.finding.path == ".spec.containers[0].image"
    assert item.hint


def test_odd_shapes_do_no_harm(find: Find) -> None:
    for spec in (
        "7",
        "null",
        "[]",
        "{containers: 7}",
        "{containers: [7, {image: 7}, {image: [a]}]}",
        "{volumes: [x]}",
    ):
        assert not find(f"apiVersion: v1\nkind: Pod\nmetadata: [x]\nspec: {spec}").references
