"""What becomes stale: expanded from presets, locked with an age, told by status and metrics, refreshed alone."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.content import make_file, things
from isthmus.content.alerts import staleness_rules
from isthmus.content.derived import rewrite_index
from isthmus.content.freshness import ages, metrics
from isthmus.content.times import seconds_since
from isthmus.errors import UsageError
from isthmus.inventory.config import Config, PlatformSection
from isthmus.inventory.config_file import parse_config
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Finding, Inventory, Ref
from isthmus.inventory.perishables import FALCO_INDEX, driver_urls, expand, policy_of
from isthmus.inventory.settle import settle
from isthmus.inventory.thing_config import FalcoSection
from isthmus.oci import parse_manifest
from isthmus.serve import ServerThread
from isthmus.store import Store, StoredReference
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

DB = "ghcr.io/aquasecurity/trivy-db:2"
INDEX = [
    {
        "name": "falco-rules", "type": "rulesfile", "registry": "ghcr.io",
        "repository": "falcosecurity/rules/falco-rules", "description": "Falco rules", "keywords": ["falco"],
        "signature": {"cosign": {"certificate-oidc-issuer": "https://token.actions.githubusercontent.com"}},
    },
    {"name": "container", "type": "plugin", "registry": "ghcr.io",
     "repository": "falcosecurity/plugins/plugin/container"},
]  # fmt: skip


def put_artifact(store: Store, name: str, created: str, data: bytes) -> None:
    from isthmus.content.artifact import put_bytes

    blob, config = put_bytes(store, data), put_bytes(store, b"{}")
    document = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config.digest, "size": 2},
        "layers": [{"mediaType": "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", "digest": blob.digest,
                    "size": blob.size}],
        "annotations": {"org.opencontainers.image.created": created} if created else {},
    }  # fmt: skip
    manifest = parse_manifest(json.dumps(document).encode())
    store.put_manifest(name.rpartition(":")[0], manifest)
    store.set_references([StoredReference(name, manifest.descriptor())])


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[Store, ServerThread]]:
    with Store.create(tmp_path / "upstream") as store:
        put_artifact(store, DB, _ago(hours=5), b"old database")
        server = ServerThread(tmp_path / "upstream", MirrorMap())
        yield store, server
        server.stop()


def _ago(**spread: float) -> str:
    return (datetime.now(UTC) - timedelta(**spread)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _upstreams(server: ServerThread, **more: str) -> dict[str, str]:
    return {"ghcr.io": f"http://{server.address}/mirror/ghcr.io", **more}


def test_a_database_is_refreshed_alone(
    place: Workplace, upstream: tuple[Store, ServerThread], publisher: Publisher, tmp_path: Path
) -> None:
    store, server = upstream
    url = publisher.put("plain.bin", b"does not age")
    upstreams = _upstreams(server)
    place.write({"artifact": DB, "refresh": "24h"}, {"file": url}, upstreams=upstreams, architectures=[])
    assert place.run("lock")[0] == 0
    entry = place.entries()[DB]
    assert entry.max_age == 86400
    assert place.entries()["isthmus:perishables"].kind == "file"
    assert place.run("pull")[0] == 0
    status, told = place.run("status")
    assert status == 0
    assert [(thing["name"], thing["stale"]) for thing in told["things"]] == [(DB, False)]
    assert 5 * 3600 <= told["things"][0]["age"] < 6 * 3600
    assert place.run("receipt", "--store", str(place.store), "--out", "site.receipt")[0] == 0
    assert place.run("refresh", "--dry-run")[1]["names"] == [DB]
    put_artifact(store, DB, _ago(hours=1), b"new database")
    before = place.entries()
    status, told = place.run("refresh", "--pack", "update", "--since", "site.receipt")
    assert status == 0, str(told)
    assert [line.split()[1] for line in told["changed"]] == [DB]
    assert told["bytes"] > 0
    assert told["deltas"] > 0
    assert place.entries()[url] == before[url]
    assert place.entries()[DB].evidence == before[DB].evidence
    with Store.open(place.store) as held:
        names = [stored.name for stored in held.references()]
        for name in names:
            if "plain" in name:
                held.set_references((), remove=[name])
    assert place.run("unpack", "update", "--store", str(place.store))[0] == 0
    status, told = place.run("status", "--store", str(place.store))
    # The renewed lock crossed with it: what the site lacks of the rest is seen too.
    assert (status, told["things"][0]["age"] < 2 * 3600) == (3, True)
    assert [finding["name"] for finding in told["coverage"]["missing"]] == [url]
    assert told["coverage"]["stale"] == []


def test_what_nobody_dates_counts_from_when_it_was_first_seen(
    place: Workplace, upstream: tuple[Store, ServerThread]
) -> None:
    store, server = upstream
    put_artifact(store, DB, "", b"undated")
    place.write({"artifact": DB}, upstreams=_upstreams(server), architectures=[])
    assert place.run("lock")[0] == 0
    first = place.lock.read_bytes()
    assert place.entries()[DB].max_age == 3 * 86400
    assert place.run("lock")[0] == 0
    assert place.lock.read_bytes() == first


def test_stale_things_are_an_exit_status(place: Workplace, upstream: tuple[Store, ServerThread]) -> None:
    store, server = upstream
    put_artifact(store, DB, _ago(days=9), b"very old")
    place.write({"artifact": DB, "refresh": "2d"}, upstreams=_upstreams(server), architectures=[])
    assert place.run("lock")[0] == 0
    assert place.run("pull")[0] == 0
    status, told = place.run("status")
    assert (status, told["stale"]) == (3, [DB])
    assert "vulnerability" in told["things"][0]["breaks"]


def test_falcoctls_index_points_inside(
    place: Workplace, upstream: tuple[Store, ServerThread], publisher: Publisher
) -> None:
    store, server = upstream
    publisher.put("falco/falcoctl/index.yaml", yaml.safe_dump(INDEX).encode())
    for name in ("ghcr.io/falcosecurity/rules/falco-rules:latest",
                 "ghcr.io/falcosecurity/plugins/plugin/container:latest"):  # fmt: skip
        put_artifact(store, name, _ago(days=1), name.encode())
    more = {"falcosecurity.github.io": f"{publisher.url}/falco"}
    document = {
        "platform": {
            "name": "p",
            "architectures": [],
            "perishables": ["falco"],
            "upstreams": _upstreams(server, **more),
        },
        "site": {"registry": {"host": "registry.site.internal:8443"}},
    }
    (place.directory / "isthmus.yaml").write_text(json.dumps(document))
    status, told = place.run("lock")
    assert status == 0, str(told)
    assert place.run("pull")[0] == 0
    with Store.open(place.store) as held:
        served = {path: held.blob_path(layer.digest) for thing in things(held) for path, layer in thing.paths()}
    assert "falcosecurity.github.io/falcoctl/index.yaml" in served
    inside = yaml.safe_load(served["falcoctl/index.yaml"].read_text())
    assert inside[0]["registry"] == "registry.site.internal:8443"
    assert inside[0]["repository"] == "mirror/ghcr.io/falcosecurity/rules/falco-rules"
    assert "signature" not in inside[0]
    assert inside[0]["keywords"] == ["falco"]
    assert place.run("status")[1]["stale"] == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"a: b", b"[1]", b"- {name: x}", b"- {registry: 1, repository: a}", b"\xff", b"[" * 3000,
     b"- {registry: 'a b', repository: '../..'}", b"- &a [*a]"],
)  # fmt: skip
def test_hostile_indexes_of_falcoctl_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        rewrite_index(data, "registry.x", MirrorMap())
    assert caught.value.code in ("invalid-input", "invalid-reference")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_index_is_an_error_of_ours(data: bytes) -> None:
    try:
        rewrite_index(data, "registry.x", MirrorMap())
    except UsageError as error:
        assert error.code  # noqa: PT017


def image(name: str) -> Ref:
    return Ref("image", name, findings=(Finding("x"),))


def test_presets_add_what_the_scan_did_not_find() -> None:
    opensearch = image("docker.io/opensearchproject/opensearch:2.19.4")
    platform = PlatformSection(perishables=("trivy", "falco", "opensearch"))
    found = [ref.name for ref in expand([opensearch], platform, None)]
    assert "mirror.gcr.io/aquasec/trivy-db:2" in found
    assert FALCO_INDEX in found
    assert [name for name in found if "repository-" in name] == [
        f"https://artifacts.opensearch.org/releases/plugins/{name}/2.19.4/{name}-2.19.4.zip"
        for name in ("repository-s3", "repository-gcs", "repository-azure")
    ]
    have = [
        Ref("artifact", "ghcr.io/aquasecurity/trivy-db:2"),
        Ref("artifact", "x.example/trivy-java-db:1@sha256:" + "0" * 64),
    ]
    names = [ref.name for ref in expand(have, PlatformSection(perishables=("trivy",)), None)]
    assert names == ["mirror.gcr.io/aquasec/trivy-checks:1"]


def test_without_a_word_the_scan_decides() -> None:
    assert expand([image("docker.io/library/nginx:1")], PlatformSection(), None) == ()
    found = expand([image("mirror.gcr.io/aquasec/trivy-operator:0.29")], PlatformSection(), None)
    assert {ref.name.rpartition("/")[2] for ref in found} == {"trivy-db:2", "trivy-java-db:1", "trivy-checks:1"}
    assert all("platform.perishables" in ref.findings[0].note for ref in found)
    assert expand([image("mirror.gcr.io/aquasec/trivy:0.5")], PlatformSection(perishables=()), None) == ()
    settled = settle(Inventory(references=(image("docker.io/falcosecurity/falco:0.41"),)), PlatformSection())
    assert FALCO_INDEX in [ref.name for ref in settled.references]


def test_drivers_only_for_kernels_that_need_them() -> None:
    falco = FalcoSection("8.1.0+driver", "ubuntu-generic", ("5.4.0-169-generic #187", "6.8.0-31-generic 31"))
    assert driver_urls(falco)[0] == (
        "https://download.falco.org/driver/8.1.0%2Bdriver/x86_64/falco_ubuntu-generic_5.4.0-169-generic_187.ko"
    )
    found = expand([], PlatformSection(perishables=("falco",), falco=falco), None)
    assert [ref.name for ref in found if ref.name.endswith(".ko")] == [driver_urls(falco)[0]]


def test_policies_know_what_becomes_stale() -> None:
    assert policy_of("artifact", "mirror.gcr.io/aquasec/trivy-db:2@sha256:" + "0" * 64) is not None
    assert policy_of("artifact", f"ghcr.io/aquasecurity/trivy-db:sha256-{'0' * 64}.sig") is None
    assert policy_of("image", "ghcr.io/aquasecurity/trivy-db:2") is None
    assert policy_of("file", "https://x.example/a") is None


def test_missing_and_undated_things_are_stale(tmp_path: Path) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    with Store.create(tmp_path) as store:
        make_file(store, "https://x.example/undated", b"1", serve="a", max_age=60)
        make_file(store, 'https://x.example/"old"\n', b"2", serve="b", max_age=60, created="2026-04-30T00:00:00Z")
        make_file(
            store, "https://x.example/new", b"3", serve="c", max_age=2 * 86400, created="2026-04-30T00:00:00Z"
        )
        listed = [{"kind": "artifact", "name": DB, "reference": DB, "digest": "sha256:" + "0" * 64, "max_age": 5}]
        document = json.dumps({"version": 1, "things": listed}).encode()
        make_file(store, "isthmus:perishables", document, serve="isthmus/perishables.json")
        found = ages(store, now)
        assert [age.stale for age in found] == [True, True, True, False]
        assert [(age.name, age.present) for age in found if not age.present] == [(DB, False)]
        text = "\n".join(metrics(found))
        assert f'isthmus_perishable_stale{{name="{DB}",kind="artifact"}} 1' in text
        assert 'name="https://x.example/\\"old\\"\\n"' in text
        make_file(store, "isthmus:perishables", b"{" * 9, serve="isthmus/perishables.json")
        assert len(ages(store, now)) == 3


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_date_is_an_age_or_none(text: str) -> None:
    found = seconds_since(text, datetime(2026, 5, 1, tzinfo=UTC))
    assert found is None or found >= 0


def test_the_site_tells_ages_as_metrics(tmp_path: Path) -> None:
    with Store.create(tmp_path) as store:
        make_file(store, "https://x.example/a", b"1", serve="a", max_age=60, created="2026-01-01T00:00:00Z")
    server = ServerThread(tmp_path, MirrorMap())
    try:
        connection = http.client.HTTPConnection(server.address, timeout=20)
        connection.request("GET", "/metrics")
        body = connection.getresponse().read().decode()
        connection.close()
    finally:
        server.stop()
    assert 'isthmus_perishable_stale{name="https://x.example/a",kind="file"} 1' in body


def test_rules_are_yaml_with_three_alerts() -> None:
    document: Any = yaml.safe_load(staleness_rules())
    assert [rule["alert"] for rule in document["groups"][0]["rules"]] == [
        "IsthmusPerishableStale",
        "IsthmusPerishableSoonStale",
        "IsthmusPerishablesUnknown",
    ]
    assert len(yaml.safe_load(staleness_rules(expected=False))["groups"][0]["rules"]) == 2


def test_the_file_says_what_is_wrong() -> None:
    for text, words in (
        ("platform: {add: [{packages: {names: [a], debian: 'https://x'}}]}", "debian and suite"),
        ("platform: {add: [{packages: {names: []}}]}", "names"),
        ("platform: {add: [{file: 'https://u:p@x/a'}]}", "password"),
        ("platform: {perishables: [trivvy]}", "trivvy"),
    ):
        with pytest.raises(UsageError) as caught:
            parse_config(text.encode())
        assert words in caught.value.message
        assert "u:p" not in caught.value.message
    good = parse_config(
        b"platform: {add: [{packages: {names: [chrony=4.3], debian: 'https://d/debian', suite: b}}]}"
    )
    assert msgspec.json.decode(msgspec.json.encode(good), type=Config) == good


def test_what_rarely_changes_counts_from_when_it_was_last_the_newest(
    place: Workplace, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = publisher.put("rules.yaml", b"rules")
    os.utime(publisher.root / "rules.yaml", (1_700_000_000, 1_700_000_000))
    place.write({"file": url, "refresh": "1h"})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(time.time()) - 3 * 3600))
    assert place.run("lock")[0] == 0
    assert place.run("pull")[0] == 0
    assert place.entries()[url].created == "2023-11-14T22:13:20Z"
    status, told = place.run("status")
    assert (status, told["stale"]) == (3, [url])
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    digest = place.entries()[url].digest
    assert place.run("refresh")[0] == 0
    assert place.entries()[url].digest == digest
    status, told = place.run("status")
    assert (status, told["stale"]) == (0, [])
    before = place.lock.read_bytes()
    assert place.run("lock")[0] == 0
    assert place.lock.read_bytes() == before
