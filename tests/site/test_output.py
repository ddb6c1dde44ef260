"""Files land below their directory, whole, or not at all."""

import os
from pathlib import Path

import pytest

from isthmus.errors import UnreachableError, UsageError
from isthmus.site.output import OutputFile, write_files


def test_files_are_written_readable_for_all(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    (path,) = write_files([OutputFile("c/d", b"data")], out)
    assert path == out / "c" / "d"
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["d"]


def test_other_bytes_replace_and_leave_no_rest(tmp_path: Path) -> None:
    write_files([OutputFile("f", b"old")], tmp_path)
    write_files([OutputFile("f", b"new")], tmp_path)
    assert (tmp_path / "f").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../../x", "a\0b"])
def test_paths_that_lead_out_are_refused_before_anything_is_written(tmp_path: Path, path: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError):
        write_files([OutputFile("fine", b""), OutputFile(path, b"x")], out)
    assert list(tmp_path.iterdir()) == []


def test_links_inside_are_not_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "d").symlink_to(elsewhere)
    with pytest.raises(UsageError):
        write_files([OutputFile("d/f", b"x")], out)
    (elsewhere / "file").write_bytes(b"kept")
    (out / "f").symlink_to(elsewhere / "file")
    with pytest.raises(UsageError):
        write_files([OutputFile("f", b"x")], out)
    assert (elsewhere / "file").read_bytes() == b"kept"
    assert os.listdir(elsewhere) == ["file"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(UnreachableError) as caught:
        write_files([OutputFile("f/below", b"x")], tmp_path)
    assert caught.value.code == "io-failed"
    (tmp_path / "d").mkdir()
    with pytest.raises(UnreachableError):
        write_files([OutputFile("d", b"x")], tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]
