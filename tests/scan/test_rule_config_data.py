from base64 import b64encode
from collections.abc import Callable

import pytest

from isthmus.inventory.model import Inventory

Names = Callable[[str], dict[str, str]]
Find = Callable[[str], Inventory]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("node.collector.imageRef: ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("queue-sidecar-image: gcr.io/a/b@sha256:" + "0" * 64, "gcr.io/a/b@sha256:" + "0" * 64),
        ("ROOK_CSI_CEPH_IMAGE: quay.io/a/b:v3", "quay.io/a/b:v3"),
        ("trivy.repository: mirror.gcr.io/a/b\ntrivy.tag: 0.66.0", "mirror.gcr.io/a/b:0.66.0"),
        ("c.yaml: |\n  executor:\n    image: quay.io/a/b:1", "quay.io/a/b:1"),
        ("c.yaml: |\n  # a\n  ---\n  a: 1\n  --- # b\n  worker: {image: quay.io/a/b:1}", "quay.io/a/b:1"),
        ('c.json: \'{"sidecarImage": "quay.io/a/b:1"}\'', "quay.io/a/b:1"),
        ('config.toml: |\n  [[runners]]\n    [runners.kubernetes]\n    image = "quay.io/a/b:1"', "quay.io/a/b:1"),
        ("app.properties: |\n  # c\n  worker.image=quay.io/a/b:1\n  other=1", "quay.io/a/b:1"),
        (
            "airflow.cfg: |\n  [k]\n  worker_container_repository = quay.io/a/b\n  worker_container_tag = 1.0",
            "quay.io/a/b:1.0",
        ),
        ("v.yaml: |\n  image:\n    registry: quay.io\n    repository: a/b\n    tag: v1", "quay.io/a/b:v1"),
        ("v.yaml: |\n  image: {name: quay.io/a/b, tag: '1.0'}", "quay.io/a/b:1.0"),
        ("t.yaml: |\n  {{ if x }}\n  proxyImage: quay.io/a/b:1\n  {{ end }}", "quay.io/a/b:1"),
        ("run.sh: |\n  #!/bin/sh\n  kubectl run x --image=quay.io/a/b:1", "quay.io/a/b:1"),
    ],
)
def test_images_in_config_maps(config_map: Names, data: str, name: str) -> None:
    assert config_map(data) == {name: "likely"}


@pytest.mark.parametrize(
    "data",
    [
        "rules.yaml: |\n  - list: trusted\n    items: [docker.io/calico/ctl, quay.io/prometheus/prometheus]",
        "rules.yaml: |\n  - macro: m\n    condition: container.image.repository in (docker.io/a/b)",
        'd.json: \'{"panels": [{"image": "quay.io/a/b:1"}], "schemaVersion": 3}\'',
        "c.yaml: |\n  worker:\n    enabled: false\n    image: quay.io/a/b:1",
        "c.yaml: |\n  allowedImages: [quay.io/a/b:1]",
        "c.yaml: |\n  description: 'the image: quay.io/a/b:1'",
        "_example: |\n  image: quay.io/a/b:1",
        "imagePullPolicy: Always\ntrivy.command: image\nimage.scan.dir: /tmp/x",
    ],
)
def test_what_is_none(config_map: Names, data: str) -> None:
    assert config_map(data) == {}


def test_paths_lead_back(find: Find) -> None:
    found = find(
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a.yaml: "w: [{image: q.io/a/b:1}]\\n\\n"'
    )
    assert found.references[0].findings[0].path == '.data["a.yaml"] | from_yaml | .w[0].image'


def test_secrets(names: Names) -> None:
    text = b64encode(b"worker:\n  image: quay.io/a/b:1\n").decode()
    assert names(f"apiVersion: v1\nkind: Secret\ndata: {{c.yaml: {text}}}") == {"quay.io/a/b:1": "likely"}
    assert names("apiVersion: v1\nkind: Secret\nstringData: {image: quay.io/a/b:1}") == {"quay.io/a/b:1": "likely"}
    assert names("apiVersion: v1\nkind: Secret\ndata: {a: '!!', b: /w==}") == {}


def test_objects_inside(find: Find) -> None:
    found = find(
        """
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: ns}
data:
  helperPod.yaml: |
    apiVersion: v1
    kind: Pod
    metadata: {name: helper}
    spec: {containers: [{image: busybox, args: ["--x-image=quay.io/a/b:1"]}]}
"""
    ).references
    assert {ref.name: ref.confidence for ref in found} == {
        "docker.io/library/busybox:latest": "likely",
        "quay.io/a/b:1": "likely",
    }
    assert found[0].findings[0].path.startswith('ConfigMap/ns/c .data["helperPod.yaml"] | from_yaml | .spec')
