"""Metadata of RPM repositories: closures, versions, limits, and what is hostile."""

import gzip
import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.content.rpm_closure import closure, compare
from isthmus.content.rpm_metadata import Entry, Rpm, read_primary, read_repomd
from isthmus.errors import UsageError
from isthmus.oci import Digest
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

COMMON = 'xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'


def package(name: str, data: bytes, version: str = "1.0", requires: str = "", provides: str = "") -> str:
    needs = "".join(f'<rpm:entry name="{one}"/>' for one in requires.split())
    gives = "".join(f'<rpm:entry name="{one}"/>' for one in f"{name} {provides}".split())
    return (
        f'<package type="rpm"><name>{name}</name><arch>x86_64</arch><version epoch="0" ver="{version}" rel="1"/>'
        f'<checksum type="sha256" pkgid="YES">{hashlib.sha256(data).hexdigest()}</checksum>'
        f'<size package="{len(data)}" installed="1" archive="1"/><location href="Packages/{name}-{version}.rpm"/>'
        f"<format><rpm:provides>{gives}</rpm:provides><rpm:requires>{needs}</rpm:requires>"
        f"<file>/usr/bin/{name}</file></format></package>"
    )


def repository(publisher: Publisher, primary: bytes, *, name: str = "primary.xml.gz") -> None:
    publisher.put(f"r/repodata/{name}", primary)
    text = (
        '<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">'
        f'<checksum type="sha256">{hashlib.sha256(primary).hexdigest()}</checksum>'
        f'<location href="repodata/{name}"/><size>{len(primary)}</size></data></repomd>'
    )
    publisher.put("r/repodata/repomd.xml", text.encode())


def test_what_is_needed_is_carried(place: Workplace, publisher: Publisher) -> None:
    sources = {
        "tool": "libthing.so.1()(64bit) /usr/bin/helper glibc",
        "libthing": "",
        "helper": "",
        "unwanted": "tool",
    }
    texts = []
    for name, needs in sources.items():
        publisher.put(f"r/Packages/{name}-1.0.rpm", name.encode())
        texts.append(
            package(
                name,
                name.encode(),
                requires=needs,
                provides="libthing.so.1()(64bit)" if name == "libthing" else "",
            )
        )
    repository(publisher, gzip.compress(f"<metadata {COMMON}>{''.join(texts)}</metadata>".encode(), mtime=0))
    packages = {"rpm": f"{publisher.url}/r", "names": ["tool"]}
    place.write({"packages": packages})
    status, told = place.run("lock")
    assert status == 0, str(told)
    (entry,) = place.entries().values()
    titles = [f"{name}-1.0-1.x86_64" for name in ("helper", "libthing", "tool")]
    assert entry.resolved == (*titles, "not in the repository: glibc")
    assert place.run("pull")[0] == 0
    assert "/r/Packages/unwanted-1.0.rpm" not in [path for _, path, _ in publisher.log]
    (place.directory / "provides").write_text("bash = 5\n")
    place.write({"packages": {**packages, "installed": "provides"}})
    assert place.run("lock")[0] == 3
    (place.directory / "provides").write_text("glibc = 2.34\n")
    assert place.run("lock")[0] == 0
    place.write({"packages": {**packages, "names": ["tool", "no-such"]}})
    status, told = place.run("lock")
    assert status == 3
    assert "no-such" in told["error"]["items"][0]


BOMB = b'<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><m>&b;</m>'


@pytest.mark.parametrize(
    "data",
    [
        b"", b"<", b"<a>", BOMB, b"\xff\xfe", b"<a/>" * 2, b"<metadata><package></package></metadata>",
        b"<a>" * 200_000, b"<metadata>" + b"<name>" + b"x" * 9000 + b"</name></metadata>",
        f"<metadata {COMMON}>{package('a', b'a').replace('Packages/', '../../')}</metadata>".encode(),
        f"<metadata {COMMON}>{package('a', b'a').replace('sha256', 'md5')}</metadata>".encode(),
        f"<metadata {COMMON}>{package('a', b'a').replace('size package=', 'size x=')}</metadata>".encode(),
    ],
)  # fmt: skip
def test_hostile_metadata_is_refused(data: bytes) -> None:
    for read in (
        lambda: read_primary(io.BytesIO(data), lambda _: None, "x", 1 << 30),
        lambda: read_repomd(data, "x"),
    ):
        try:
            found = read()
        except UsageError as error:
            assert error.code == "invalid-input"  # noqa: PT017
        else:
            assert not found


def test_a_bomb_ends_at_the_limit(place: Workplace, publisher: Publisher) -> None:
    with pytest.raises(UsageError) as caught:
        read_primary(io.BytesIO(b"<a>" + b" " * (5 << 20)), lambda _: None, "x", 4 << 20)
    assert "unpacks to more" in caught.value.message
    repository(publisher, gzip.compress(BOMB))
    place.write({"packages": {"rpm": f"{publisher.url}/r", "names": ["a"]}})
    status, told = place.run("lock")
    assert status == 3
    assert "entities" in told["error"]["items"][0]
    for primary in (b"not gzip", gzip.compress(b"<metadata>")[:-9]):
        repository(publisher, primary)
        status, told = place.run("lock")
        assert status == 3
        assert "invalid" in str(told) or "cannot be unpacked" in str(told) or "not metadata" in str(told)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_metadata_is_an_error_of_ours(data: bytes) -> None:
    try:
        read_primary(io.BytesIO(b"<metadata>" + data + b"</metadata>"), lambda _: None, "x", 1 << 20)
    except UsageError as error:
        assert error.code == "invalid-input"  # noqa: PT017


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("1.0", "1.0", 0), ("1.0", "2.0", -1), ("2.0.1", "2.0", 1), ("1.0~rc1", "1.0", -1), ("1.0^git1", "1.0", 1),
        ("1.0~rc1", "1.0~rc2", -1), ("1.0^", "1.0.1", -1), ("a", "1", -1), ("10", "9", 1), ("1.05", "1.5", 0),
        ("1_0", "1.0", 0), ("1.0a", "1.0b", -1), ("5.5p1", "5.5p10", -1), ("xyz10", "xyz10.1", -1),
    ],
)  # fmt: skip
def test_versions_compare_as_rpm_does(one: str, other: str, order: int) -> None:
    assert compare(("", one, ""), ("", other, "")) == order
    assert compare(("", other, ""), ("", one, "")) == -order


def test_the_newest_that_fulfils_is_taken() -> None:
    def rpm(name: str, version: str, requires: tuple[Entry, ...] = ()) -> Rpm:
        own = Entry(name, "EQ", ("0", version, "1"))
        return Rpm(name, "x86_64", ("0", version, "1"), f"{name}-{version}", Digest.of(b""), 1, (own,), requires)

    held = [
        rpm("lib", "1.0"),
        rpm("lib", "1.10"),
        rpm("lib", "1.9"),
        rpm("app", "1", (Entry("lib", "LT", ("0", "1.10", "")),)),
    ]
    found = closure(held, ["app"], {"x86_64"})
    assert [one.path for one in found.packages] == ["app-1", "lib-1.9"]
    assert [one.path for one in closure(held, ["lib"], {"x86_64"}).packages] == ["lib-1.10"]
    assert [one.path for one in closure(held, ["lib-1.0"], {"x86_64"}).packages] == ["lib-1.0"]
    assert closure(held, ["app"], {"aarch64"}).unknown == ("app",)
