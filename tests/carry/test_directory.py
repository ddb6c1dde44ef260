"""Copying a bundle onto a medium: whole or not at all under its name, and not twice."""

from pathlib import Path

import pytest

from isthmus.carry import directory
from isthmus.carry.directory import copy_to_directory
from isthmus.errors import UnreachableError, UsageError, VerificationError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = tmp_path / "bundle"
    (made / "below").mkdir(parents=True)
    (made / "a.isv").write_bytes(b"a" * 3_000_000)
    (made / "below" / "empty").write_bytes(b"")
    return made


def test_what_is_there_is_not_written_again(bundle: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    assert copy_to_directory([bundle], disk, dry_run=True).bytes == 3_000_000
    assert not disk.exists()
    first = copy_to_directory([bundle], disk)
    assert (first.bytes, first.skipped, first.files) == (3_000_000, 0, 2)
    assert (disk / "a.isv").read_bytes() == b"a" * 3_000_000
    again = copy_to_directory([bundle], disk)
    assert (again.bytes, again.skipped, again.replaced) == (0, 3_000_000, ())
    (disk / "a.isv").write_bytes(b"b" * 3_000_000)
    assert copy_to_directory([bundle], disk).replaced == ("a.isv",)
    assert (disk / "a.isv").read_bytes() == b"a" * 3_000_000
    assert not list(disk.rglob("*.part"))


def test_a_medium_that_gives_back_other_bytes_is_found(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_digest", lambda path, size: b"other")
    with pytest.raises(VerificationError) as caught:
        copy_to_directory([bundle], tmp_path / "disk")
    assert caught.value.code == "digest-mismatch"
    assert not (tmp_path / "disk" / "a.isv").exists()


def test_what_cannot_be_written_or_read_is_said(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreachableError) as caught:
        copy_to_directory([bundle], tmp_path / "file")
    assert caught.value.code == "io-failed"
    with pytest.raises(UsageError):
        copy_to_directory([tmp_path / "absent"], tmp_path / "disk")
