"""Archives of charts: hostile ones are errors that name the archive, and nothing lands outside."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.scan.helm import archive as archive_module
from isthmus.scan.helm.archive import unpack_chart


def pack(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


CHART = (member("web/Chart.yaml"), b"name: web\n")


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil.txt"),
        member("/tmp/evil.txt"),
        member("web/../../evil.txt"),
        member("web/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("web/hard", tarfile.LNKTYPE, "web/Chart.yaml"),
        member("web/fifo", tarfile.FIFOTYPE),
        member("web/device", tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_hostile_members_are_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    archive = pack(tmp_path / "a.tgz", CHART, (bad, b""))
    with pytest.raises(UsageError) as caught:
        unpack_chart(archive, str(tmp_path / "inside" / "folder"))
    assert (caught.value.code, caught.value.where) == ("invalid-input", archive)
    assert {path.name for path in tmp_path.iterdir()} <= {"a.tgz", "inside"}


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tgz", CHART, (member("web/big"), b"\0" * (archive_module.MAX_FILE + 1)))
    with pytest.raises(UsageError, match="larger than"):
        unpack_chart(archive, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "web" / "big").exists()


def test_an_archive_without_a_chart_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tgz", (member("readme"), b"x"))
    with pytest.raises(UsageError, match=r"Chart\.yaml"):
        unpack_chart(archive, str(tmp_path / "out"))


@given(data=st.binary(max_size=400), cut=st.integers(0, 200))
def test_damaged_archives_raise_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    good = Path(pack(folder / "good.tgz", CHART)).read_bytes()
    (folder / "bad.tgz").write_bytes(good[:cut] + data)
    damaged = good[:cut] + data
    if damaged[: len(good)] == good and not data.strip(b"\0"):
        assert (Path(unpack_chart(str(folder / "bad.tgz"), str(folder / "out"))) / "Chart.yaml").exists()
        return
    with pytest.raises(UsageError) as caught:
        unpack_chart(str(folder / "bad.tgz"), str(folder / "out"))
    assert caught.value.where == str(folder / "bad.tgz")
