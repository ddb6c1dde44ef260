"""Packages are found as a container would see them; hostile layers end in a fault, never in an error or a hang."""

import gzip
import io
import shutil
import sqlite3
import struct
import subprocess
import tarfile
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.report.packages import Package, databases, layer, packages_of, read_layer
from isthmus.report.packages.rpm import NotReadError, rpm
from tests.report.conftest import APK, COPYRIGHT, DPKG, OS_RELEASE, dist_info, rpm_header, rpmdb, tar

STATUS = "var/lib/dpkg/status"


def facts(place: Path, *layers: dict[str, bytes] | bytes) -> list[layer.LayerFacts]:
    result = []
    for number, contents in enumerate(layers):
        path = place / str(number)
        path.write_bytes(contents if isinstance(contents, bytes) else gzip.compress(tar(contents)))
        result.append(read_layer(path))
    return result


def names(place: Path, *layers: dict[str, bytes] | bytes) -> list[str]:
    return [package.name for package in packages_of(facts(place, *layers)).packages]


def test_every_kind_of_database(tmp_path: Path) -> None:
    files = {
        STATUS: DPKG,
        "./lib/apk/db/installed": APK,
        "var/lib/rpm/rpmdb.sqlite": rpmdb(rpm_header(name="bash", version="5", release="1")),
        "var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 12\n",
        "var/lib/dpkg/status.d/base.md5sums": b"Package: nothing\nVersion: 1\n",
        **dist_info("requests", "2", "MIT"),
        "etc/os-release": OS_RELEASE,
    }
    found = packages_of(facts(tmp_path, files))
    wanted = ["busybox", "musl", "base-files", "libc6", "nginx", "requests", "bash"]
    assert [package.name for package in found.packages] == wanted
    assert (found.distribution, found.faults) == ("debian", ())


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ({STATUS: b"Package: only\nVersion: 1\n"}, ["only"]),
        ({"var/lib/dpkg/.wh.status": b""}, []),
        ({"var/.wh.lib": b""}, []),
        ({".wh.var": b""}, []),
        ({"var/lib/.wh..wh..opq": b""}, []),
        ({".wh..wh..opq": b""}, []),
        ({"var/lib/dpkg/.wh.statu": b"", "var/lib/dpkg2/.wh..wh..opq": b""}, ["libc6", "nginx"]),
        ({"var/lib/.wh..wh..opq": b"", STATUS: b"Package: only\nVersion: 1\n"}, ["only"]),
    ],
)
def test_upper_layers_replace_and_take_away(tmp_path: Path, upper: dict[str, bytes], left: list[str]) -> None:
    assert names(tmp_path, {STATUS: DPKG}, upper) == left


def test_a_link_in_the_place_of_a_database_takes_it_away(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo(STATUS)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert names(tmp_path, {STATUS: DPKG}, out.getvalue()) == []


def test_uncompressed_and_zstd_layers(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    assert names(tmp_path, tar({STATUS: DPKG})) == ["libc6", "nginx"]
    assert names(tmp_path, zstd.compress(tar({STATUS: DPKG}))) == ["libc6", "nginx"]


def test_licences_of_debian_packages_come_from_their_copyright_files(tmp_path: Path) -> None:
    found = packages_of(facts(tmp_path, {STATUS: DPKG}, {"usr/share/doc/libc6/copyright": COPYRIGHT}))
    assert {package.name: package.license for package in found.packages} == {
        "libc6": "GPL-2+, LGPL-2.1+",
        "nginx": "",
    }
    assert databases.copyright_licences(b"see /usr/share/common-licenses/GPL-3.\n") == "GPL-3"


def bomb() -> bytes:
    """Half a gigabyte of a database in half a megabyte."""
    size = 512 << 20
    header = tarfile.TarInfo(STATUS)
    header.size = size
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(header.tobuf())]
    pieces += [packer.compress(bytes(1 << 20)) for _ in range(8)]
    return b"".join(pieces) + packer.flush()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        gzip.compress(b"nonsense"),
        gzip.compress(tar({STATUS: DPKG}))[:-30],
        tar({"../../etc/passwd": b"x", STATUS: DPKG}),
        bomb(),
        b"\x28\xb5\x2f\xfd" + b"\xff" * 100,
    ],
    ids=["empty", "nonsense", "gzip of nonsense", "truncated", "leads out", "bomb", "no zstd"],
)
def test_a_hostile_layer_ends_in_a_fault(tmp_path: Path, data: bytes) -> None:
    found = packages_of(facts(tmp_path, data))
    assert found.faults


def test_a_layer_with_too_many_package_files_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "MAX_FOUND", 5)
    files = {f"p{n}.dist-info/METADATA": b"Name: a\nVersion: 1\n" for n in range(50)}
    assert "more than 5" in packages_of(facts(tmp_path, files)).faults[0]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_parsers_take_any_bytes(data: bytes) -> None:
    for parse in (databases.dpkg, databases.apk, databases.python):
        assert all(isinstance(package, Package) for package in parse(data))
    databases.copyright_licences(b"Format: x\n" + data)
    databases.os_release(data)
    with pytest.raises(NotReadError):
        rpm(data)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_rpm_header(data: bytes) -> None:
    assert rpm(rpmdb(data)) in ([], rpm(rpmdb(data)))


def test_a_database_that_computes_for_ever_is_left() -> None:
    connection = sqlite3.connect(":memory:")
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x AS blob FROM n"
    connection.execute(f"CREATE VIEW Packages AS {endless}")
    connection.commit()
    data = connection.serialize()
    connection.close()
    with pytest.raises(NotReadError):
        rpm(data)


def varint(text: bytes) -> bytes:
    length, out = len(text), b""
    while length >= 0x80:
        out, length = out + bytes([length & 0x7F | 0x80]), length >> 7
    return out + bytes([length]) + text


def go_program(modules: bytes, version: bytes = b"go1.24.1", place: int = 128 * 1024) -> bytes:
    """An ELF-64 file with one writable segment, which begins with what Go's linker writes."""
    info = (
        b"\xff Go buildinf:"
        + bytes([8, 2])
        + bytes(16)
        + varint(version)
        + varint(b"<" * 16 + modules + b">" * 16)
    )
    program = struct.pack("<IIQQQQQQ", 1, 6, place, 0, 0, len(info), len(info), 4096)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    return (head + program).ljust(place, b"\0") + info.ljust(256 * 1024, b"\0")


MODULES = (
    b"path\texample.com/cmd/x\nmod\texample.com\tv1.2.3\th1:x=\n"
    b"dep\tgithub.com/BurntSushi/toml\tv1.4.0\th1:y=\ndep\told.example/a\tv1.0.0\n=>\tnew.example/a\tv1.0.1\th1:z=\n"
)


def test_modules_of_go_programs(tmp_path: Path) -> None:
    found = packages_of(facts(tmp_path, {"app": go_program(MODULES)})).packages
    assert [package.url() for package in found] == [
        "pkg:golang/example.com@v1.2.3",
        "pkg:golang/github.com/burntsushi/toml@v1.4.0",
        "pkg:golang/new.example/a@v1.0.1",
        "pkg:golang/stdlib@1.24.1",
    ]
    other = b"\x7fELF" + bytes(300 * 1024)
    assert names(tmp_path, {"app": go_program(MODULES)}, {"app": other}) == []
    assert (
        names(tmp_path, {"usr/local/bin/deep/er/app": go_program(b"")}, {"usr/local/bin/deep/er/.wh.app": b""})
        == []
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=80))
def test_any_bytes_in_a_program_of_go(at: int, noise: bytes) -> None:
    data = bytearray(go_program(MODULES))
    for place in (at, 128 * 1024 + at):
        data[place : place + len(noise)] = noise
    with tempfile.TemporaryDirectory() as directory:
        assert len(facts(Path(directory), tar({"app": bytes(data)}))) == 1


@pytest.mark.real
def test_a_real_program_as_go_itself_says(tmp_path: Path) -> None:
    program = shutil.which("containerd") or pytest.skip("containerd (Debian package containerd) is not installed")
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    said = subprocess.run(["go", "version", "-m", program], check=True, capture_output=True, text=True).stdout
    version = said.split()[1].removeprefix("go")
    modules = [line.split("\t")[2] for line in said.splitlines() if line.startswith(("\tdep\t", "\tmod\t"))]
    found = names(tmp_path, tar({"containerd": Path(program).read_bytes()}))
    assert sorted(found) == sorted([*modules, "stdlib"])
    assert facts(tmp_path, tar({"c": Path(program).read_bytes()}))[0].databases[0].packages[0].version == version


def test_urls_of_packages() -> None:
    assert Package("deb", "g++", "1:2~rc", "amd64").url("ubuntu") == "pkg:deb/ubuntu/g%2B%2B@1%3A2~rc?arch=amd64"
    assert Package("pypi", "Foo_Bar", "1").url("debian") == "pkg:pypi/foo-bar@1"
    assert Package("apk", "musl", "1").url() == "pkg:apk/alpine/musl@1"
