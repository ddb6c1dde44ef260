"""The release document says what crosses, for whom, what changed and who signed it, in the same bytes always."""

import csv
import io
import json
from pathlib import Path

import pytest

from isthmus.bundle import BundleReference, held_by_all, make_receipt, plan_bundle, read_receipt
from isthmus.oci.descriptor import EMPTY_JSON
from isthmus.report import Release, earlier, make_release, read_release
from isthmus.report.changes import held_before
from isthmus.report.model import Item
from tests.bundle.conftest import as_json, put_blob
from tests.report.conftest import CONTROLLER, NGINX, STATIC, TOOLS, UBI, Platform, layer, put, put_manifest


def item(release: Release, name: str) -> Item:
    return next(each for each in release.items if each.name == name)


def test_items_have_evidence_licences_and_hosts(platform: Platform) -> None:
    release, _ = make_release(platform.plan(), platform.store, platform.asked())
    nginx = item(release, f"{NGINX}:1.22.1")
    assert nginx.licences == ("BSD-2-Clause",)
    assert nginx.host == "docker.io"
    assert len(nginx.needed_by) == 2
    assert nginx.components == ("ck8s:wc user/demo", "manifests:extra.yaml")
    assert nginx.distribution == "Debian GNU/Linux 12 (bookworm)"
    assert (release.sequence, release.name, release.bundle) == (7, "welkin", platform.plan().bundle)
    assert item(release, f"{CONTROLLER}:v1.11.3").platforms == ("linux/amd64",)
    assert item(release, f"{STATIC}:3.10").components == ("kubespray:kubespray pod_infra_image_repo"[:19],)


def test_totals_count_every_blob_once(platform: Platform) -> None:
    plan = platform.plan()
    release, _ = make_release(plan, platform.store, platform.asked())
    totals = release.totals
    assert totals.all.size == totals.all.carried == sum(blob.size for blob in plan.manifest.blobs)
    assert totals.all.items == len(release.items)
    assert {total.name for total in totals.by_host} == {"docker.io", "ghcr.io", "registry.k8s.io", "quay.io"}
    assert {total.name for total in totals.by_kind} == {"image", "signature"}
    assert sum(total.items for total in totals.by_kind) == totals.all.items
    assert all(total.size <= totals.all.size for group in (totals.by_host, totals.by_component) for total in group)


def test_signatures_are_checked_with_the_given_keys(platform: Platform) -> None:
    release, _ = make_release(platform.plan(), platform.store, platform.asked())
    simple = item(release, f"{NGINX}:1.22.1").signatures
    assert [(each.kind, each.form, each.result) for each in simple] == [
        ("signature", "simple signing", "verified")
    ]
    forms = {(each.kind, each.form, each.result) for each in item(release, f"{CONTROLLER}:v1.11.3").signatures}
    assert forms == {("signature", "sigstore bundle", "verified"), ("attestation", "DSSE", "verified")}
    assert item(release, f"{TOOLS}:1.0.0").signatures == ()
    other = Platform(platform.store, type(platform.signer)(), platform.place)
    release, _ = make_release(platform.plan(), platform.store, other.asked())
    assert item(release, f"{NGINX}:1.22.1").signatures[0].result == "failed"


def test_packages_from_layers_and_from_attached_sboms(platform: Platform) -> None:
    release, files = make_release(platform.plan(), platform.store, platform.asked())
    assert item(release, f"{NGINX}:1.22.1").packages == 3
    assert [sbom.format for sbom in item(release, f"{NGINX}:1.22.1").sboms] == ["CycloneDX"]
    assert [sbom.format for sbom in item(release, f"{CONTROLLER}:v1.11.3").sboms] == ["SPDX"]
    names = {component["name"]: component for component in json.loads(files["sbom.cdx.json"])["components"]}
    assert names["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"
    assert names["libc6"]["licenses"] == [{"license": {"name": "GPL-2+, LGPL-2.1+"}}]
    assert names["bash"]["purl"] == "pkg:rpm/rhel/bash@5.2-3.el9?arch=x86_64"
    assert names["k8s.io/ingress-nginx"]["purl"] == "pkg:golang/k8s.io/ingress-nginx@v1.11.3"
    assert {"musl", "requests", "openssl"} <= set(names)
    assert "removed" not in names
    assert dict(release.contents.by_type) == {"deb": 2, "apk": 2, "pypi": 1, "rpm": 1, "golang": 1, "generic": 1}


@pytest.mark.parametrize(("mode", "packages"), [("none", 0), ("carried", 2)])
def test_less_can_be_asked_for(platform: Platform, mode: str, packages: int) -> None:
    release, files = make_release(platform.plan(), platform.store, platform.asked(mode=mode))
    assert release.contents.packages == packages
    assert ("sbom.cdx.json" in files) == (mode != "none")


def test_the_same_input_gives_the_same_bytes(platform: Platform) -> None:
    cache = platform.place / "cache"
    first = make_release(platform.plan(), platform.store, platform.asked(cache=cache))[1]
    assert list((cache / "packages-2").iterdir())
    assert make_release(platform.plan(), platform.store, platform.asked(cache=cache))[1] == first
    for path in (cache / "packages-2").iterdir():
        path.write_bytes(b"damaged")
    assert make_release(platform.plan(), platform.store, platform.asked(cache=cache))[1] == first


def test_what_changed_since_an_earlier_release(platform: Platform) -> None:
    _, files = make_release(platform.plan(), platform.store, platform.asked())
    old = platform.place / "release.json"
    old.write_bytes(files["release.json"])
    put(platform.store, TOOLS, "1.0.0", [layer({"new": b"1"})])
    put(platform.store, "docker.io/library/redis", "7", [layer({"redis": b"1"})])
    platform.store.set_references([], remove=[f"{UBI}:v2"])
    release, files = make_release(platform.plan(), platform.store, platform.asked(before=earlier(old)))
    changes = {each.name: each.change for each in release.items}
    assert changes[f"{TOOLS}:1.0.0"] == "changed"
    assert changes["docker.io/library/redis:7"] == "new"
    assert changes[f"{NGINX}:1.22.1"] == "same"
    assert [gone.name for gone in release.removed] == [f"{UBI}:v2"]
    assert "no longer cross" in files["release.html"].decode()


def test_another_tag_takes_the_place_of_the_one_before(platform: Platform) -> None:
    _, files = make_release(platform.plan(), platform.store, platform.asked())
    old = platform.place / "release.json"
    old.write_bytes(files["release.json"])
    put(platform.store, TOOLS, "1.0.1", [layer({"new": b"1"})])
    platform.store.set_references([], remove=[f"{TOOLS}:1.0.0"])
    release, _ = make_release(platform.plan(), platform.store, platform.asked(before=earlier(old)))
    found = item(release, f"{TOOLS}:1.0.1")
    assert (found.change, found.was_name) == ("changed", f"{TOOLS}:1.0.0")
    assert found.was != found.digest
    assert release.removed == ()


def test_the_table_is_read_by_spreadsheets_and_runs_nothing(platform: Platform) -> None:
    release, files = make_release(platform.plan(), platform.store, platform.asked())
    rows = list(csv.DictReader(io.StringIO(files["release.csv"].decode())))
    assert [row["name"] for row in rows] == [each.name for each in release.items]
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_the_document_lists_its_files_and_reads_back(platform: Platform, tmp_path: Path) -> None:
    release, files = make_release(platform.plan(), platform.store, platform.asked())
    path = tmp_path / "r.json"
    path.write_bytes(files["release.json"])
    assert read_release(path)[0] == release
    assert {file.name for file in release.files} == {"release.csv", "sbom.cdx.json"}


def test_hostile_words_do_not_become_markup(platform: Platform) -> None:
    labels = {
        "org.opencontainers.image.licenses": "<script>alert(1)</script>",
        "org.opencontainers.image.title": "a\x00b\nc",
    }
    put(platform.store, "evil.example/x", "1", [b"not a tar at all"], labels)
    release, files = make_release(platform.plan(), platform.store, platform.asked())
    page = files["release.html"].decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert any("not read to its end" in note for note in item(release, "evil.example/x:1").notes)


def test_what_is_no_image_is_called_as_where_it_came_from(platform: Platform) -> None:
    blob = as_json(put_blob(platform.store, b"a plugin", "application/octet-stream"))
    origin = "https://artifacts.example.org/plugins/x-1.zip"
    for number, where in enumerate((origin, "http://[broken")):
        document = {
            "artifactType": "application/vnd.isthmus.file.v1",
            "config": as_json(put_blob(platform.store, b"{}", EMPTY_JSON)),
            "layers": [blob],
            "annotations": {"dev.isthmus.name": where},
        }
        put_manifest(platform.store, f"isthmus.internal/files/x-{number}", "latest", document)
    references = [
        BundleReference(stored.name, stored.descriptor, "file")
        for stored in platform.store.references()
        if "/files/" in stored.name
    ]
    release, files = make_release(plan_bundle(platform.store, references), platform.store, platform.asked())
    assert [each.host for each in release.items] == ["artifacts.example.org", "isthmus.internal"]
    assert release.items[0].media_type == "application/vnd.isthmus.file.v1"
    assert f'<th scope="row">{origin}' in files["release.html"].decode()


def test_an_update_says_what_is_new_for_the_sites(platform: Platform, tmp_path: Path) -> None:
    receipts = []
    for number in (1, 2):
        path = tmp_path / f"{number}.receipt"
        path.write_bytes(make_receipt(platform.store))
        receipts.append(read_receipt(path))
        put(platform.store, "docker.io/library/redis", str(number), [layer({"redis": b"%d" % number})])
    platform.store.set_references([], remove=["docker.io/library/redis:1", f"{UBI}:v2"])
    since = held_by_all(receipt.blobs for receipt in receipts)
    plan = plan_bundle(platform.store, since=since)
    asked = platform.asked(before=held_before(receipts))
    release, files = make_release(plan, platform.store, asked)
    found = {each.name: each for each in release.items}
    assert found["docker.io/library/redis:2"].change == "new"  # one of the sites has :1, the other has none
    assert found[f"{NGINX}:1.22.1"].change == "same"
    assert found[f"{NGINX}:1.22.1"].carried == 0
    assert [gone.name for gone in release.removed] == [f"{UBI}:v2"]
    assert 0 < release.totals.all.carried < release.totals.all.size
    assert "since what the site holds" in files["release.html"].decode()
