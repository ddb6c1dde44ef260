"""Charts of classic repositories, plain addresses and registries; versions; hostile indexes and archives."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.content.chart_archive import chart_metadata
from isthmus.content.semver import best, parse
from isthmus.errors import IsthmusError, UsageError
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace


def tgz(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def chart(name: str, version: str) -> bytes:
    text = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    return tgz({f"{name}/Chart.yaml": text.encode(), f"{name}/templates/a.yaml": b"a: 1\n"})


def repository(publisher: Publisher, *versions: str, digest: bool = True) -> None:
    entries = []
    for version in versions:
        data = chart("web", version)
        publisher.put(f"repo/web-{version}.tgz", data)
        entry = {"name": "web", "version": version, "urls": [f"web-{version}.tgz"]}
        if digest:
            entry["digest"] = hashlib.sha256(data).hexdigest()
        entries.append(entry)
    publisher.put("repo/index.yaml", json.dumps({"apiVersion": "v1", "entries": {"web": entries}}).encode())


@pytest.mark.parametrize("digest", [True, False])
def test_a_range_becomes_a_version(place: Workplace, publisher: Publisher, digest: bool) -> None:
    repository(publisher, "1.2.0", "1.9.3", "2.0.0", "2.1.0-rc.1", digest=digest)
    publisher.put("repo/web-1.9.3.tgz.prov", b"prov")
    name = f"{publisher.url}/repo#web?version=^1.2"
    place.write({"chart": name})
    assert place.run("lock")[0] == 0
    entry = place.entries()[name]
    assert entry.reference == "isthmus.internal/charts/web:1.9.3"
    assert entry.resolved == ("web 1.9.3",)
    assert [part.path for part in entry.contents] == ["web-1.9.3.tgz", "web-1.9.3.tgz.prov"]
    assert place.run("pull")[0] == 0
    before = place.lock.read_bytes()
    assert place.run("lock")[0] == 0
    assert place.lock.read_bytes() == before


def test_a_plain_address_is_a_chart(place: Workplace, publisher: Publisher) -> None:
    url = publisher.put("x/web-1.0.0.tgz", chart("web", "1.0.0+build"))
    place.write({"chart": url})
    assert place.run("lock")[0] == 0
    assert place.entries()[url].reference == "isthmus.internal/charts/web:1.0.0_build"


@pytest.mark.parametrize(
    ("index", "code"),
    [
        (b"entries: {web: [{version: 1.2.3, urls: [web-9.tgz]}]}", "digest-mismatch"),
        (b"entries: {web: [{version: 1.2.3, urls: []}]}", "invalid-input"),
        (b"entries: {web: {a: b}}", "not-found"),
        (b"entries: [1, 2]", "not-found"),
        (b"- 1", "invalid-input"),
        (b"\xff\xfe", "invalid-input"),
        (b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" * 400, "invalid-input"),
        (b"{" * 5000, "invalid-input"),
        (b"entries: {web: [{version: 1.2.3, urls: ['file:///etc/passwd']}]}", "invalid-config"),
        (b"entries: {web: [{version: 1.2.3, urls: ['http://[::1']}]}", "invalid-config"),
        (b"entries: {web: [{version: 1.2.3, digest: %s, urls: [web-9.tgz]}]}" % (b"0" * 64), "digest-mismatch"),
    ],
)
def test_hostile_indexes_are_refused(place: Workplace, publisher: Publisher, index: bytes, code: str) -> None:
    publisher.put("repo/web-9.tgz", chart("web", "9.0.0"))
    publisher.put("repo/index.yaml", index)
    place.write({"chart": f"{publisher.url}/repo#web"})
    status, told = place.run("lock")
    assert status in (3, 4)
    text = json.dumps(told)
    assert "Traceback" not in text
    if status == 4:
        assert told["error"]["code"] == code


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a beginning": lambda: b"\x1f\x8b",
    "another form": lambda: b"not gzip",
    "no archive inside": lambda: gzip.compress(b"not tar" * 1000),
    "nothing inside": lambda: gzip.compress(b""),
    "no YAML": lambda: tgz({"web/Chart.yaml": b"[1"}),
    "a number for a name": lambda: tgz({"web/Chart.yaml": b"name: 1\nversion: 2"}),
    "no version": lambda: tgz({"web/Chart.yaml": b"name: w\n"}),
    "no text": lambda: tgz({"web/Chart.yaml": b"\xff\xff"}),
    "too deep": lambda: tgz({"web/deep/Chart.yaml": b"name: w\nversion: 1"}),
    "too large": lambda: tgz({"web/Chart.yaml": b"a" * (2 << 20)}),
    "a bomb": lambda: gzip.compress(b"\0" * (300 << 20), compresslevel=1),
}
"""Made when they are needed: gzip writes the time into them, and tests must be called the same in every worker."""


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, kind: str) -> None:
    data = HOSTILE[kind]()
    path = tmp_path / "x.tgz"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        chart_metadata(path, "x")
    assert caught.value.code == "invalid-input"


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tgz"
    path.write_bytes(gzip.compress(data))
    with contextlib.suppress(IsthmusError):
        chart_metadata(path, "x")


VERSIONS = ["0.1.0", "0.2.3", "1.0.0", "1.2.0", "1.2.9", "1.3.0-rc.1", "v1.10.0", "2.0.0", "2.1.0-beta.2", "junk"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", "2.0.0"),
        ("^1", "v1.10.0"),
        ("^0.1", "0.1.0"),
        ("~1.2", "1.2.9"),
        ("~1.2.0", "1.2.9"),
        ("1.x", "v1.10.0"),
        ("1.2.*", "1.2.9"),
        ("*", "2.0.0"),
        (">=1.0.0 <1.3", "1.2.9"),
        (">=1.0.0, <1.3.0", "1.2.9"),
        ("1.0 - 1.2", "1.2.9"),
        ("<1 || ~1.0", "1.0.0"),
        ("1.2.0", "1.2.0"),
        ("1.3.0-rc.1", "1.3.0-rc.1"),
        (">=2.0.0-0", "2.1.0-beta.2"),
        ("!=2.0.0", "v1.10.0"),
        (">2", None),
        ("3", None),
        ("2.1.0-beta.2", "2.1.0-beta.2"),
    ],
)
def test_ranges_mean_what_helm_says(wanted: str, expected: str | None) -> None:
    assert best(VERSIONS, wanted) == expected


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_range_is_understood_or_refused(text: str) -> None:
    try:
        best(VERSIONS, text)
    except UsageError as error:
        assert error.code == "invalid-config"  # noqa: PT017


def test_versions_are_ordered_as_semver_says() -> None:
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
               "1.0.0-rc.1", "1.0.0", "1.0.1"]  # fmt: skip
    parsed = [parse(text) for text in ordered]
    assert None not in parsed
    assert sorted(parsed, key=lambda version: version or (0, 0, 0, ())) == parsed
