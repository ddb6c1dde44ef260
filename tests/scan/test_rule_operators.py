from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.model import Inventory
from isthmus.scan.catalogue_file import load_catalogue, parse_catalogue
from isthmus.scan.document import Document
from isthmus.scan.run import scan_documents
from isthmus.scan.version_range import holds, version_of

Find = Callable[[str], Inventory]


def pod(image: str, more: str = "") -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{image: '{image}'{more}}}]}}"


def likely(inventory: Inventory) -> set[str]:
    return {ref.name for ref in inventory.references if ref.confidence == "likely" and ref.when == "always"}


def test_what_is_compiled_into_an_operator(find: Find) -> None:
    found = find(pod("quay.io/tigera/operator:v1.36.5"))
    assert "docker.io/calico/node:v3.29.2" in likely(found)
    assert len(likely(found)) == 8
    (ref,) = (ref for ref in found.references if ref.name == "docker.io/calico/node-windows:v3.29.2")
    assert ref.when == "conditional"
    assert "https://github.com/tigera/operator/blob/v1.36.5" in ref.findings[0].note
    assert "quay.io/calico/node:v3.30.4" in likely(find(pod("registry.inside/mirror/tigera/operator:v1.38.7")))


@pytest.mark.parametrize("tag", ["v9.9.9", "v1.36.999", "latest", "master"])
def test_an_unknown_version_is_an_item(find: Find, tag: str) -> None:
    found = find(pod(f"quay.io/tigera/operator:{tag}"))
    assert not likely(found)
    (item,) = found.unresolved
    assert "platform.catalogue" in item.hint


def test_names_of_the_program_itself(find: Find) -> None:
    assert likely(find(pod("docker.io/istio/pilot:1.24.0"))) == {"docker.io/istio/proxyv2:1.24.0"}
    assert "quay.io/kubevirt/virt-launcher:v1.3.0" in likely(find(pod("quay.io/kubevirt/virt-operator:v1.3.0")))


def test_ranges(find: Find) -> None:
    assert likely(find(pod("docker.io/velero/velero:v1.15.2"))) == {
        "docker.io/velero/velero-restore-helper:v1.15.2"
    }
    assert likely(find(pod("docker.io/velero/velero:v1.16.1"))) == set()


def test_settings_take_the_place_of_what_is_compiled_in(find: Find) -> None:
    image = "quay.io/jetstack/cert-manager-controller:v1.18.3"
    names = {ref.name for ref in find(pod(image)).references}
    assert "quay.io/jetstack/cert-manager-acmesolver:v1.18.3" in names
    found = find(pod(image, ", args: ['--acme-http01-solver-image=r.io/s:1']")).references
    assert {ref.name for ref in found} == {image, "r.io/s:1"}


def test_endpoints(find: Find) -> None:
    (endpoint,) = find(pod("docker.io/falcosecurity/falco-driver-loader:0.41.3")).endpoints
    assert (endpoint.url, endpoint.purpose) == ("https://download.falco.org/driver", "falco-driver")
    assert endpoint.advice


def test_files_of_users(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "operators:\n- image: acme/op\n  source: https://acme.example.com\n  versions: '>=2 <3'\n"
        "  references: [{image: 'acme.io/worker:{version}'}]\n"
        "kinds:\n- {group: acme.io, kinds: [Job], fields: ['.spec.run']}\nignored:\n- {group: no.acme.io}\n"
    )
    documents = [
        Document(
            "t", {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "x.io/acme/op:v2.1.0-x"}]}}
        ),
        Document("t", {"apiVersion": "acme.io/v1", "kind": "Job", "spec": {"run": "acme.io/run"}}),
        Document("t", {"apiVersion": "no.acme.io/v1", "kind": "Job", "spec": {"image": "acme.io/none:1"}}),
    ]
    for place in (file, tmp_path):
        names = {ref.name for ref in scan_documents(documents, [str(place)]).references}
        assert names == {"x.io/acme/op:v2.1.0-x", "acme.io/worker:2.1.0", "acme.io/run:latest"}
    assert "acme.io/worker:2.1.0" not in {ref.name for ref in scan_documents(documents).references}


@pytest.mark.parametrize("text", ["operators: [{image: x}]", "wrong: 1", "operators: 7", "a: [", "- x"])
def test_wrong_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_catalogue(text, "own.yaml")
    assert caught.value.code == "invalid-config"


def test_the_package_is_sound() -> None:
    catalogue = load_catalogue()
    assert all(entry.source.startswith("https://") for entry in catalogue.operators)
    for entry in catalogue.operators:
        holds(entry.versions, "v1.0.0")


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v1.2.3", "1.2.3"),
        ("1.2", "1.2"),
        ("0.41.3-debian", "0.41.3"),
        ("alpine-v16.0.0", "16.0.0"),
        ("latest", ""),
        ("7", ""),
        ("", ""),
    ],
)
def test_versions_in_tags(tag: str, version: str) -> None:
    assert version_of(tag) == version


def test_version_ranges() -> None:
    assert holds("", "latest")
    assert not holds(">=1.0", "latest")
    assert holds(">=1.36.0 <1.38", "v1.37.9")
    assert not holds(">=1.36.0 <1.38", "v1.38.0")
    assert holds("=1.2.3", "1.2.3")
    with pytest.raises(UsageError):
        holds("~1", "1.0")
