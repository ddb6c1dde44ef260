"""The console's values: components from evidence, hostile configs, ages, places in lists."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.bundle.history import ReceivedBundle, received_bundles, record_bundle
from isthmus.bundle.waiting import NotedProgress, Waiting, waiting_bundles
from isthmus.oci.descriptor import OCI_INDEX
from isthmus.serve.console.components import components_of
from isthmus.serve.console.detail import kind_of_attachment, parse_config
from isthmus.serve.console.listing import PAGE, page_of, parse_filter
from isthmus.serve.console.rendering import human_size, human_span
from isthmus.serve.facts import parse_time
from isthmus.serve.pushes import LIMIT, Pushes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
)
KEYS = st.sampled_from(["config", "history", "os", "architecture", "created", "variant"])
INNER = st.sampled_from(["Env", "Cmd", "Entrypoint", "Labels", "ExposedPorts", "Volumes", "User", "WorkingDir"])


@pytest.mark.parametrize(
    ("line", "component"),
    [
        ("ck8s:wc ingress-nginx/ingress-nginx DaemonSet/a/b .spec", "ingress-nginx/ingress-nginx"),
        ("ck8s:sc images helmfile.d/lists/images.yaml .x", "sc"),
        ("ck8s:sc helmfile.d/x.yaml Deployment/a/b .spec", "sc"),
        ("helmfile:helmfile.yaml monitoring/prometheus X/y/z .i", "monitoring/prometheus"),
        ("helm:charts/grafana Deployment/a/b .spec", "grafana"),
        ("helm:oci://ghcr.io/charts/grafana?version=1 Deployment/a/b .spec", "grafana"),
        ("manifests:a.yaml Deployment/demo/web .spec", "namespace demo"),
        ("manifests:dir/a.yaml ClusterRole/web .spec", "a.yaml"),
        ("cluster:kubeconfig Pod/kube-system/x .spec", "namespace kube-system"),
        ("kubeadm:v1.31.4 images", "Kubernetes v1.31.4"),
        ("kubespray:kubespray roles", "Kubespray"),
        ("images:list.txt line 3", "list.txt"),
        ("signature of docker.io/library/web:latest", "signatures and SBOMs"),
    ],
)
def test_components(line: str, component: str) -> None:
    assert components_of([line, line]) == (component,)


@given(st.lists(st.text(), max_size=5))
def test_any_evidence_is_borne(lines: list[str]) -> None:
    assert all(isinstance(one, str) and len(one) <= 130 for one in components_of(lines))


@given(st.dictionaries(KEYS, st.dictionaries(INNER, JSON, max_size=8) | JSON, max_size=6) | JSON)
def test_any_config_is_borne(document: Any) -> None:
    config = parse_config(document)
    assert (config is None) == (not isinstance(document, dict))
    if config is not None:
        assert all(isinstance(one, str) for one in (*config.environment, *config.command, *config.history))


@given(st.text(max_size=50))
def test_any_time_is_borne(text: str) -> None:
    found = parse_time(text)
    assert found is None or isinstance(found, float)


@given(st.integers(0, 1000), st.text(max_size=8) | st.integers(-5, 50).map(str))
def test_every_page_is_one_of_those_there_are(count: int, number: str) -> None:
    page = page_of(range(count), number, "/x", {"q": "a b", "kind": ""})
    assert 1 <= page.number <= page.pages
    assert page.total == count
    assert len(page.items) <= PAGE
    assert page.last - page.first + 1 == len(page.items) or not page.items
    assert page.link(1) == "/x?q=a+b"
    assert page.link(2) == "/x?q=a+b&page=2"


def test_filters_are_bounded() -> None:
    wanted = parse_filter({"q": "  a   b " + "x" * 1000, "kind": "nonsense", "host": "h" * 1000})
    assert wanted.text.startswith("a b x")
    assert len(wanted.text) <= 200
    assert (wanted.kind, len(wanted.host)) == ("", 260)


def test_words_for_sizes_ages_and_attachments() -> None:
    assert [human_size(n) for n in (None, 0, 1023, 1024, 5 * 1024**3, 2**60)] == [
        "…", "0 B", "1023 B", "1.0 KiB", "5.0 GiB", "1024.0 PiB",
    ]  # fmt: skip
    assert [human_span(n) for n in (-5, 60, 3600, 5400, 86400, 90000, 86400 * 90)] == [
        "less than a minute", "1 minute", "1 hour", "1 h 30 min", "1 day", "1 d 1 h", "90 days",
    ]  # fmt: skip
    kinds = [
        "application/spdx+json",
        "application/vnd.in-toto+json",
        "application/vnd.dev.cosign.artifact.sig.v1+json",
    ]
    assert [kind_of_attachment(kind) for kind in (*kinds, "")] == ["SBOM", "Attestation", "Signature", "Attached"]
    assert kind_of_attachment(OCI_INDEX) == "Attached"


def test_pushes_are_bounded_and_end() -> None:
    pushes = Pushes()
    for number in range(LIMIT + 10):
        pushes.begin(str(number), "localhost/x", "me")
    assert len(pushes.under_way()) == LIMIT
    pushes.reach("0", 5)  # forgotten by now
    pushes.reach("100", 5, 10)
    assert next(push for push in pushes.under_way() if push.done).total == 10
    for number in range(LIMIT + 10):
        pushes.end(str(number))
    assert pushes.under_way() == ()


def test_the_record_is_appended_to_once_a_bundle(tmp_path: Any) -> None:
    first = ReceivedBundle("aa", "welkin", "2026-01-01T00:00:00Z", sequence=1, signed_by="k")
    second = ReceivedBundle("bb", "welkin", "2026-01-02T00:00:00Z")
    for bundle in (first, first, second, second, first):
        record_bundle(tmp_path, bundle)
    assert received_bundles(tmp_path) == (first, second, first)


def test_progress_is_noted_beside_or_inside_the_store(tmp_path: Any) -> None:
    store = tmp_path / "store"
    told: list[int] = []
    for parent, name in ((tmp_path / "store.incoming", "a"), (store / "incoming", "b")):
        (parent / name).mkdir(parents=True)
        noted = NotedProgress(parent / name, name, 100, lambda done, _total, _label: told.append(done))
        for done in range(0, 51, 10):
            noted(done, 50, "x")
    found = waiting_bundles(store)
    assert {(one.bundle, one.done, one.total, one.bundle_bytes) for one in found} == {
        ("a", 50, 50, 100),
        ("b", 50, 50, 100),
    }
    assert told == [*range(0, 51, 10)] * 2
    assert all(one.is_running(one.at + 5) and not one.is_running(one.at + 60) for one in found)
    assert Waiting("x", "x", 0, 0, 0, 0.0).is_running(5.0)
