from collections.abc import Callable

import pytest

from isthmus.inventory.model import Inventory

Names = Callable[[str], dict[str, str]]
Find = Callable[[str], Inventory]


def resource(api: str, kind: str, spec: str) -> str:
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: n}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("text", "name", "confidence"),
    [
        (resource("monitoring.coreos.com/v1", "Prometheus", "{image: quay.io/p/p:1}"), "quay.io/p/p:1", "certain"),
        (
            resource("pkg.crossplane.io/v1", "Provider", "{package: xpkg.crossplane.io/c/p:v1}"),
            "xpkg.crossplane.io/c/p:v1",
            "certain",
        ),
        (resource("postgresql.cnpg.io/v1", "Cluster", "{imageName: ghcr.io/c/p:16}"), "ghcr.io/c/p:16", "certain"),
        (
            resource("tekton.dev/v1", "Task", "{steps: [{image: golang}]}"),
            "docker.io/library/golang:latest",
            "certain",
        ),
        (
            resource(
                "kubevirt.io/v1",
                "VirtualMachine",
                "{template: {spec: {volumes: [{containerDisk: {image: quay.io/k/f:1}}]}}}",
            ),
            "quay.io/k/f:1",
            "certain",
        ),
        (
            resource(
                "cdi.kubevirt.io/v1beta1", "DataVolume", "{source: {registry: {url: 'docker://quay.io/k/f:1'}}}"
            ),
            "quay.io/k/f:1",
            "certain",
        ),
        (
            resource("kibana.k8s.elastic.co/v1", "Kibana", "{version: 8.1.0}"),
            "docker.elastic.co/kibana/kibana:8.1.0",
            "likely",
        ),
        (
            resource("beat.k8s.elastic.co/v1beta1", "Beat", "{type: filebeat, version: 8.1.0}"),
            "docker.elastic.co/beats/filebeat:8.1.0",
            "likely",
        ),
        (resource("x.example.com/v1", "Thing", "{worker: {image: quay.io/a/b:1}}"), "quay.io/a/b:1", "likely"),
        (
            resource("x.example.com/v1", "Thing", "{image: {repository: quay.io/a/b, tag: v1}}"),
            "quay.io/a/b:v1",
            "likely",
        ),
        (
            resource(
                "x.example.com/v1", "Thing", "{a: {repository: nvcr.io/n, image: d, version: v1, enabled: true}}"
            ),
            "nvcr.io/n/d:v1",
            "likely",
        ),
        (
            resource(
                "x.example.com/v1",
                "Thing",
                "{a: {repository: n.io/n, image: d, version: 'sha256:%s'}}" % ("0" * 64),
            ),
            f"n.io/n/d@sha256:{'0' * 64}",
            "likely",
        ),
        (
            resource(
                "x.example.com/v1",
                "Thing",
                "{image: {registry: q.io, repository: a/b, tag: '1', digest: 'sha256:%s'}}" % ("0" * 64),
            ),
            f"q.io/a/b:1@sha256:{'0' * 64}",
            "likely",
        ),
        (
            resource("x.example.com/v1", "Thing", "{env: [{name: HELPER_IMAGE, value: 'quay.io/a/b:1'}]}"),
            "quay.io/a/b:1",
            "likely",
        ),
        (resource("x.example.com/v1", "Thing", "{images: [quay.io/a/b:1]}"), "quay.io/a/b:1", "likely"),
        (resource("x.example.com/v1", "Thing", "{artifact: quay.io/a/b:1}"), "quay.io/a/b:1", "possible"),
        (
            resource("x.example.com/v1", "Thing", "{image: busybox}"),
            "docker.io/library/busybox:latest",
            "possible",
        ),
    ],
)
def test_images(names: Names, text: str, name: str, confidence: str) -> None:
    assert names(text) == {name: confidence}


@pytest.mark.parametrize(
    "text",
    [
        resource(
            "kyverno.io/v1",
            "ClusterPolicy",
            "{rules: [{verifyImages: [{imageReferences: ['quay.io/a/b:1'], mutateDigest: true}]}]}",
        ),
        resource("constraints.gatekeeper.sh/v1beta1", "K8sAllowedRepos", "{parameters: {image: 'quay.io/a/b:1'}}"),
        resource("x.example.com/v1", "Thing", "{a: {enabled: false, image: quay.io/a/b:1}}"),
        resource("x.example.com/v1", "Thing", "{a: {enabled: false, repository: n.io/n, image: d, version: v1}}"),
        resource("x.example.com/v1", "Thing", "{exemptImages: [quay.io/a/b:1], imagePullPolicy: Always}"),
        resource(
            "x.example.com/v1", "Thing", "{chart: {repository: 'https://x.example.com/charts', version: 1.0.0}}"
        ),
        resource("x.example.com/v1", "Thing", "{description: 'quay.io/a/b:1'}"),
        resource("x.example.com/v1", "Thing", "{}") + "status: {image: quay.io/a/b:1}\n",
        resource(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "{versions: [{schema: {openAPIV3Schema: {properties: {image: {default: 'q.io/a/b:1'}}}}}]}",
        ),
    ],
)
def test_what_is_none(names: Names, text: str) -> None:
    assert not {name: how for name, how in names(text).items() if how != "possible"}


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
  group: x.example.com
  names: {kind: Thing}
  versions:
  - schema:
      openAPIV3Schema:
        properties:
          spec:
            properties:
              image: {type: string}
              runner: {type: string, description: Container image of the runner.}
              parts: {type: array, items: {properties: {image: {type: string}}}}
              named: {type: object, additionalProperties: {properties: {image: {type: string}}}}
"""


@pytest.mark.parametrize(
    "spec",
    [
        "{image: busybox}",
        "{runner: quay.io/a/busybox:1}",
        "{parts: [{image: busybox}]}",
        "{named: {x: {image: busybox}}}",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_definitions_make_it_likely(find: Find, spec: str, is_first: bool) -> None:
    parts = [DEFINITION, resource("x.example.com/v1", "Thing", spec)]
    (ref,) = find("---\n".join(parts if is_first else reversed(parts))).references
    assert ref.confidence == "likely"
    assert ref.findings[0].rule == "custom-resource-schema"


def test_an_image_that_only_the_operator_knows_is_an_item(find: Find) -> None:
    (item,) = find(resource("monitoring.coreos.com/v1", "Prometheus", "{replicas: 1}")).unresolved
    assert "Prometheus/n" in item.what


def test_driver_images_depend_on_the_nodes(find: Find) -> None:
    driver = "enabled: true, repository: nvcr.io/nvidia, image: driver, version: 550.1"
    spec = f"{{driver: {{{driver}, manager: {{repository: nvcr.io/n, image: m, version: v1}}}}}}"
    found = find(resource("nvidia.com/v1", "ClusterPolicy", spec))
    assert {ref.name: ref.when for ref in found.references} == {
        "nvcr.io/nvidia/driver:550.1": "conditional",
        "nvcr.io/n/m:v1": "always",
    }
    assert len(found.unresolved) == 1


def test_patterns_in_policies_are_no_pods(find: Find) -> None:
    containers = "[{image: 'eu.foo.io/* | bar.io/*'}, {image: 'quay.io/a/b:1'}]"
    pattern = f"{{validate: {{pattern: {{spec: {{containers: {containers}}}}}}}}}"
    found = find(resource("kyverno.io/v1", "ClusterPolicy", f"{{rules: [{pattern}]}}"))
    assert (found.references, found.unresolved) == ((), ())


@pytest.mark.parametrize(
    ("param", "how"),
    [
        ("{name: IMAGE, value: 'quay.io/me/built:1'}", "possible"),
        ("{name: BUILDER_IMAGE, value: 'quay.io/me/built:1'}", "likely"),
        ("{name: image, default: 'quay.io/me/built:1'}", "likely"),
    ],
)
def test_parameters_of_pipelines(names: Names, param: str, how: str) -> None:
    assert names(resource("tekton.dev/v1", "PipelineRun", f"{{params: [{param}]}}")) == {"quay.io/me/built:1": how}


def test_thanos_beside_prometheus(find: Find) -> None:
    spec = "{image: quay.io/p/p:1, thanos: {%s}}"
    with_version = find(resource("monitoring.coreos.com/v1", "Prometheus", spec % "version: v0.39.2"))
    assert "quay.io/thanos/thanos:v0.39.2" in {ref.name for ref in with_version.references}
    assert find(resource("monitoring.coreos.com/v1", "Prometheus", spec % "x: 1")).unresolved
    assert not find(resource("monitoring.coreos.com/v1", "Prometheus", "{image: quay.io/p/p:1}")).unresolved


OPERATOR = """
apiVersion: v1
kind: Pod
metadata: {name: operator}
spec: {containers: [{image: x/o:1, args: ["--thanos-default-base-image=quay.io/thanos/thanos:v0.39.2"]}]}
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_the_default_of_an_operator_fills_a_gap(find: Find, is_first: bool) -> None:
    parts = [OPERATOR, resource("monitoring.coreos.com/v1", "ThanosRuler", "{replicas: 1}")]
    found = find("---\n".join(parts if is_first else reversed(parts)))
    (ref,) = (ref for ref in found.references if ref.name == "quay.io/thanos/thanos:v0.39.2")
    assert (ref.confidence, ref.when, found.unresolved) == ("likely", "always", ())
    alone = find(OPERATOR)
    assert [ref.when for ref in alone.references if "thanos" in ref.name] == ["conditional"]


def test_values_files(names: Names) -> None:
    assert names("app: {image: {repository: quay.io/a/b, tag: '1'}}\nother: x\n") == {"quay.io/a/b:1": "likely"}
