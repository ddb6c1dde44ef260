"""The platform's report: what is put together, each form of it, and that the same input gives the same bytes."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.bundle.history import ReceivedBundle
from isthmus.errors import UsageError
from isthmus.inventory.lock import Lock, LockEntry
from isthmus.oci import Digest
from isthmus.report import make_release
from isthmus.report.platform import FORMATS, Known, PlatformReport, make_report, write
from isthmus.report.platform.crossings import crossings
from isthmus.report.platform.evidence import parse
from isthmus.report.platform.forms import format_of, line_of
from isthmus.report.platform.model import Evidence
from isthmus.report.platform.vex import carried, collect, read_document
from tests.report import example
from tests.report.conftest import Platform, attach, put

NOW = "1795514400"  # 2026-11-24T10:00:00Z


@pytest.fixture(autouse=True)
def _moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", NOW)


@pytest.fixture
def report() -> PlatformReport:
    return example.report()


def test_what_is_open_has_a_rule_and_where_it_comes_from(report: PlatformReport) -> None:
    assert [(each.rule, each.what) for each in report.open] == [
        ("missing-reference", "docker.io/goharbor/trivy-adapter-photon:v2.12.2"),
        ("stale-reference", "docker.io/grafana/grafana:11.4.0"),
        ("stale-data", "ghcr.io/aquasecurity/trivy-db:2"),
        ("undecided-endpoint", "https://grafana.com/api/plugins"),
        ("unresolved", "image ${REGISTRY}/exporter:${TAG}"),
        ("site-decision", "site.object_storage.region"),
        ("rehearsal-failed", "docker.io/goharbor/trivy-adapter-photon:v2.12.2"),
        ("undecided-egress", "download.falco.org:443"),
    ]
    falco = report.open[-1].evidence[-1]
    assert falco.source == "helmfile:helmfile.d/50-security.yaml"
    assert falco.object == "Deployment/monitoring/falco"
    assert falco.path == ".spec.template.spec.containers[0].image"
    assert {(each.what, each.decision) for each in report.settled} == {
        ("https://acme-v02.api.letsencrypt.org", "internal"),
        ("https://hooks.slack.com", "disable"),
        ("chart example/unused*", "waived"),
        ("ntp://pool.ntp.org", "internal"),
    }


def test_coverage_changes_and_sums(report: PlatformReport) -> None:
    states = [item.state for item in report.needed]
    assert (states.count("missing"), states.count("stale"), report.present) == (1, 1, len(states) - 2)
    changes = {
        change: sum(item.change == change for item in report.needed) for change in ("new", "changed", "same")
    }
    assert changes["new"] == 2
    assert changes["changed"] == 7
    assert report.previous is not None
    assert [gone.name for gone in report.previous.gone] == ["docker.io/library/busybox:1.36"]
    assert report.size == sum(item.size for item in report.needed) == sum(group.size for group in report.by_kind)
    assert report.by_host[0].name == "docker.io"
    assert sum(group.items for group in report.by_host) == len(report.needed)


def test_without_anything_else_the_lock_alone_is_reported() -> None:
    report = make_report(example.lock(), Known())
    assert {item.state for item in report.needed} == {"unknown"}
    assert {each.rule for each in report.open} == {"stale-data"}  # by the lock's own dates
    for form in FORMATS:
        assert write(report, form)
    assert write(make_report(Lock(), Known()), "html")


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_input_gives_the_same_bytes(form: str, report: PlatformReport) -> None:
    turned = Lock(platforms=("linux/amd64",), references=tuple(reversed(example.lock().references)))
    assert write(report, form) == write(make_report(turned, example.known()), form)


def test_without_an_epoch_the_moment_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert example.report().made == ""


def test_the_page_loads_nothing_and_escapes_everything() -> None:
    evil = "<script>alert(1)</script>"
    entry = LockEntry("file", f"https://x/{evil}", Digest.of(b""), evidence=(f"manifests:{evil} {evil} .a",))
    page = write(make_report(Lock(references=(entry,)), Known(checked=evil)), "html").decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for word in ("src=", "url(", "@import", "<link"):
        assert word not in page


def test_csv_has_every_thing(report: PlatformReport) -> None:
    rows = list(csv.DictReader(io.StringIO(write(report, "csv").decode())))
    assert [row["name"] for row in rows] == [item.name for item in report.needed]
    assert rows[0]["state"] == "present"


def test_sarif_points_to_the_line(report: PlatformReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helmfile.d").mkdir()
    (tmp_path / "helmfile.d/60-registry.yaml").write_text(
        "a: b\nimage:\n  goharbor/trivy-adapter-photon:v2.12.2\n"
    )
    log = json.loads(write(report, "sarif"))
    run = log["runs"][0]
    first = run["results"][0]
    assert first["ruleId"] == "missing-reference"
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "missing-reference"
    place = first["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "helmfile.d/60-registry.yaml"}, "region": {"startLine": 3}}
    logical = first["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    assert logical == "harbor Deployment/monitoring/trivy-adapter-photon .spec.template.spec.containers[3].image"
    assert len({each["partialFingerprints"]["isthmus/v1"] for each in run["results"]}) == len(run["results"])


def test_cyclonedx_names_everything_by_what_a_store_calls_it(report: PlatformReport) -> None:
    document = json.loads(write(report, "cyclonedx"))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert len(document["components"]) == len(report.needed)
    kubelet = next(
        each
        for each in document["components"]
        if {"name": "isthmus:title", "value": _KUBELET} in each["properties"]
    )
    assert kubelet["purl"].startswith("pkg:oci/")


_KUBELET = "https://dl.k8s.io/release/v1.31.4/bin/linux/amd64/kubelet"


def test_junit_fails_just_what_is_not_there(report: PlatformReport) -> None:
    root = ET.fromstring(write(report, "junit"))
    failed = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert len(failed) == len(report.open) == int(root.get("failures", ""))
    assert "image docker.io/goharbor/trivy-adapter-photon:v2.12.2" in failed


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.html", "html"), ("a.JSON", "json"), ("a.cdx.json", "cyclonedx"), ("a.vex.json", "openvex"),
     ("a.sarif", "sarif"), ("a.sarif.json", "sarif"), ("a.xml", "junit"), ("a.csv", "csv")],
)  # fmt: skip
def test_endings(name: str, form: str) -> None:
    assert format_of(name) == form


def test_an_unknown_ending() -> None:
    with pytest.raises(UsageError, match="none of the known endings"):
        format_of("report.pdf")


@given(st.text())
def test_any_line_of_evidence_can_be_taken_apart(line: str) -> None:
    assert isinstance(parse(line), Evidence)


def test_evidence() -> None:
    assert parse("helm:./web release Deployment/a/b .spec.x[0]") == Evidence(
        "helm:./web", "release Deployment/a/b", ".spec.x[0]"
    )
    assert parse("images:a.txt") == Evidence("images:a.txt")
    assert Evidence("ck8s:../apps?cluster=sc").file == "../apps"
    assert line_of(Evidence("images:/none/there"), "x") == 0


def test_crossings_from_releases_approvals_and_history(platform: Platform, tmp_path: Path) -> None:
    release, files = make_release(platform.plan(), platform.store, platform.asked())
    place = tmp_path / "carried/0001"
    place.mkdir(parents=True)
    (place / "release.json").write_bytes(files["release.json"])
    (place / "approval.json").write_text("{}")
    received = [
        ReceivedBundle("f" * 64, "old", "2026-01-01T00:00:00Z", bytes=7, signed_by="carrier"),
        ReceivedBundle(release.bundle, release.name, "2026-02-01T00:00:00Z"),
    ]
    (tmp_path / "kept/broken").mkdir(parents=True)
    (tmp_path / "kept/broken/release.json").write_text("{")
    assert crossings((), (), (), [tmp_path / "kept", tmp_path / "none"]) == ()
    with pytest.raises(UsageError):
        crossings((), [tmp_path / "kept"])
    old, new = crossings(received, [tmp_path / "carried"], (), [tmp_path / "kept"])
    assert (old.name, old.bytes, old.signed_by) == ("old", 7, ("carrier",))
    assert (new.received, new.bytes) == ("2026-02-01T00:00:00Z", release.totals.all.carried)
    assert new.approvals[0].result.startswith("it cannot be read")


VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "the makers", "version": 1,
    "timestamp": "2026-01-01T00:00:00Z",
    "statements": [{"vulnerability": {"name": "CVE-2026-1"}, "products": [{"@id": "pkg:oci/x"}],
                    "status": "not_affected", "justification": "component_not_present"}],
}  # fmt: skip


def test_vex_is_passed_on_as_it_was_written(platform: Platform, report: PlatformReport) -> None:
    image = put(platform.store, "docker.io/library/vexed", "1", [b"layer"])
    attach(
        platform.store, "docker.io/library/vexed", image, "application/vnd.openvex+json", json.dumps(VEX).encode()
    )
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://openvex.dev/ns/v0.2.0",
                 "predicate": VEX | {"@id": "urn:y"}}  # fmt: skip
    attach(
        platform.store,
        "docker.io/library/vexed",
        image,
        "application/vnd.in-toto+json",
        json.dumps(statement).encode(),
    )
    entry = LockEntry("image", "docker.io/library/vexed:1", image.digest)
    documents = carried([entry, entry], platform.store)
    assert [each["@id"] for each in documents] == ["urn:x", "urn:y"]
    whole = json.loads(collect(report, documents))
    statements: list[dict[str, Any]] = whole["statements"]
    assert len(statements) == 2
    assert statements[0] == VEX["statements"][0] | {"timestamp": "2026-01-01T00:00:00Z", "supplier": "the makers"}  # type: ignore[index]
    assert read_document(collect(report, documents), "x")["@context"] == VEX["@context"]
    for wrong in (b"{", b"[]", b'{"@context": "https://openvex.dev/ns", "statements": [1]}'):
        with pytest.raises(UsageError):
            read_document(wrong, "x")


def test_json_can_be_read_back(report: PlatformReport) -> None:
    assert msgspec.json.decode(write(report, "json"), type=PlatformReport) == report
