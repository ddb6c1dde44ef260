"""Things as OCI artifacts: the same bytes always, through store, bundle, registry and check."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle import BundleReference, pack, plan_bundle, unpack
from isthmus.check import check_store
from isthmus.content import artifact, make_chart, make_file, make_git, make_tree, things
from isthmus.content.naming import chart_name, checked_path, serve_path, slug, stored_name
from isthmus.errors import UsageError, VerificationError
from isthmus.inventory.lock import Lock, LockEntry, format_lock, parse_lock
from isthmus.oci import Reference
from isthmus.store import Store


def fill(store: Store, tmp_path: Path) -> list[LockEntry]:
    git = tmp_path / "bare"
    (git / "objects/pack").mkdir(parents=True, exist_ok=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "objects/pack/pack-1.pack").write_bytes(b"PACK")
    return [
        make_file(store, "https://x.example/a/b.zip", b"bytes", serve="x.example/a/b.zip", max_age=60,
                  created="2026-01-01T00:00:00Z"),
        make_tree(store, "packages", "deb http://d.example suite", {"pool/a.deb": b"a", "dists/s/InRelease": b"i"},
                  serve="d.example"),
        make_git(store, "https://g.example/r.git", git, serve="g.example/r.git"),
        make_chart(store, "https://c.example#web?version=1.2.3+4", b"tgz", chart="web", version="1.2.3+4",
                   serve="charts/web-1.2.3+4.tgz", provenance=b"prov"),
    ]  # fmt: skip


def test_things_come_back_as_they_went_in(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        entries = fill(store, tmp_path)
        found = {thing.name: thing for thing in things(store)}
        assert {entry.name for entry in entries} == set(found)
        for entry in entries:
            thing = found[entry.name]
            assert (thing.digest, thing.kind, thing.serve) == (entry.digest, entry.kind, entry.serve)
            assert (thing.max_age, thing.created) == (entry.max_age, entry.created)
            assert [(c.path, c.digest, c.size) for c in entry.contents] == [
                (one.path, one.digest, one.size) for one in sorted(thing.layers, key=lambda one: one.path)
            ]
        chart = found["https://c.example#web?version=1.2.3+4"]
        assert chart.reference == "isthmus.internal/charts/web:1.2.3_4"
        assert dict(found["https://x.example/a/b.zip"].paths()).keys() == {"x.example/a/b.zip"}
        assert "g.example/r.git/HEAD" in dict(found["https://g.example/r.git"].paths())
        assert check_store(entries, store).is_complete


def test_the_lock_alone_makes_the_same_artifact(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        entries = fill(store, tmp_path)
    again = parse_lock(format_lock(Lock(references=tuple(entries))).encode())
    assert sorted(again.references, key=lambda e: e.key) == sorted(entries, key=lambda e: e.key)
    for entry in again.references:
        assert artifact.manifest_of(entry)[0].digest == entry.digest
    with Store.create(tmp_path / "other") as other:
        assert [e.digest for e in fill(other, tmp_path)] == [e.digest for e in entries]


def test_a_lock_that_was_edited_is_refused(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        entry = make_file(store, "https://x.example/a", b"1", serve="a")
        with pytest.raises(VerificationError) as caught:
            artifact.put(store, msgspec.structs.replace(entry, serve="b"))
    assert caught.value.code == "digest-mismatch"


def test_things_cross_in_a_bundle(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        entries = fill(store, tmp_path)
        wanted = [BundleReference(stored.name, stored.descriptor, "artifact") for stored in store.references()]
        pack(plan_bundle(store, wanted), store, tmp_path / "bundle")
    unpack([tmp_path / "bundle"], tmp_path / "site")
    with Store.open(tmp_path / "site") as site:
        assert {thing.name for thing in things(site)} == {entry.name for entry in entries}
        assert check_store(entries, site).is_complete


@settings(deadline=None)
@given(st.text(max_size=300))
def test_every_name_has_a_legal_slug(name: str) -> None:
    reference = Reference.parse(stored_name("file", name))
    assert reference.path == f"files/{slug(name)}"
    assert slug(name) != slug(name + "x")


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_served_paths_never_lead_elsewhere(path: str, wanted: str) -> None:
    try:
        served = serve_path(f"https://host.example/{path}", wanted)
    except UsageError:
        return
    assert not served.startswith("/")
    assert ".." not in served.split("/")


@pytest.mark.parametrize("path", ["", "/a", "a//b", "../a", "a/..", "a\\b", "a\0", "a\nb", "x" * 2000])
def test_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        checked_path(path)


@pytest.mark.parametrize(("chart", "version"), [("a/b", "1"), ("A", "1"), ("a", "1 2"), ("", "1"), ("a", "")])
def test_hostile_charts_are_refused(chart: str, version: str) -> None:
    with pytest.raises(UsageError):
        chart_name(chart, version)


def test_where_files_are_served() -> None:
    url = "https://dl.k8s.io/release/v1.31.0/bin/linux/amd64/kubelet"
    assert serve_path(url) == "dl.k8s.io/release/v1.31.0/bin/linux/amd64/kubelet"
    assert serve_path(url, "bin/") == "bin/kubelet"
    assert serve_path(url, "bin/k") == "bin/k"
    assert serve_path("https://h.example/a%20b") == "h.example/a b"


@pytest.mark.parametrize(
    "reference",
    ["", "docker.io/library/nginx:latest", "isthmus.internal/git/a:latest", "isthmus.internal/files/../a:1"],
)
def test_a_hostile_lock_cannot_take_the_name_of_something_else(tmp_path: Path, reference: str) -> None:
    with Store.create(tmp_path / "store") as store:
        entry = make_file(store, "https://x.example/a", b"1", serve="a")
        with pytest.raises(UsageError):
            artifact.put(store, msgspec.structs.replace(entry, reference=reference))
        with pytest.raises(UsageError):
            artifact.put(store, msgspec.structs.replace(entry, serve="../../etc/passwd"))
