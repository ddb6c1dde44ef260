"""Release files and lists of packages: read, reduced, and what is hostile. The real apt is in tests/real."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.content.debian_release import parse_release
from isthmus.content.debian_signed import reduced
from isthmus.errors import UsageError

HEX = "ab" * 32
RELEASE = f"""\
Suite: stable
Date: Thu, 01 Jan 2026 00:00:00 UTC
Valid-Until: Thu, 08 Jan 2026 00:00:00 UTC
Acquire-By-Hash: yes
MD5Sum:
 {"0" * 32} 1 main/binary-amd64/Packages
SHA256:
 {HEX} 10 main/binary-amd64/Packages
 {HEX} 5 main/binary-amd64/Packages.xz
 {HEX} 5 main/binary-all/Packages.gz
 {HEX} 5 ../../../etc/passwd
 {HEX} x main/binary-arm64/Packages
"""


def test_what_a_release_says() -> None:
    release = parse_release(RELEASE.encode(), "x")
    assert release.by_hash
    assert release.date is not None
    assert release.valid_until is not None
    assert (release.valid_until - release.date).days == 7
    assert [one.path for one in release.indexes("main", "amd64")] == [
        "main/binary-amd64/Packages.xz", "main/binary-all/Packages.gz",
    ]  # fmt: skip
    assert release.index("main", "arm64") is None
    assert not any(".." in path for path in release.files)
    apart = parse_release((RELEASE + "No-Support-for-Architecture-all: Packages\n").encode(), "x")
    assert [one.path for one in apart.indexes("main", "amd64")] == ["main/binary-amd64/Packages.xz"]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_release_is_an_error_of_ours_or_read(data: bytes) -> None:
    try:
        release = parse_release(data, "x")
    except UsageError as error:
        assert error.code == "invalid-input"  # noqa: PT017
    else:
        assert release.files
    tail = parse_release(RELEASE.encode() + data, "x")
    assert tail.date is None or tail.date.year


def test_lists_are_reduced_to_what_is_carried(tmp_path: Path) -> None:
    one = b"Package: a\nFilename: pool/a.deb\nDescription: x\n more\n"
    two = b"Package: b\nFilename: ./pool/b.deb\n"
    path = tmp_path / "Packages"
    path.write_bytes(one + b"\n" + two + b"\n\n" + b"Package: c\nFilename: pool/c.deb")
    assert reduced(path, {"pool/a.deb", "pool/b.deb"}, "x") == one + b"\n" + two + b"\n"
    assert reduced(path, set(), "x") == b""
    path.write_bytes(b"Package: a\n" * 200_000)
    with pytest.raises(UsageError):
        reduced(path, {"pool/a.deb"}, "x")
