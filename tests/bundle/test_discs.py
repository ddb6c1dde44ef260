"""On a terminal, `unpack` asks for the next disc: a person at a pty changes what lies in the one drive."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths
from tests.bundle.conftest import Bundle, tree

QUESTION = b"press Enter"


class Person:
    """Reads what the program says and types."""

    def __init__(self, *words: str | Path) -> None:
        self.said = b""
        self._end, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "isthmus", *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def wait_for(self, text: bytes, seconds: float = 60) -> bytes:
        """What was said until the text appears."""
        start, deadline = len(self.said), time.monotonic() + seconds
        while text not in self.said[start:]:
            assert time.monotonic() < deadline, self.said.decode()
            if select.select([self._end], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self._end, 4096)
                except OSError:
                    break
        return self.said[start:]

    def type(self, text: str) -> None:
        os.write(self._end, text.encode() + b"\n")

    def status(self) -> int:
        self.wait_for(b"\0never", seconds=60)
        os.close(self._end)
        return self._process.wait(60)


def insert(drive: Path, *volumes: Path) -> None:
    for old in drive.iterdir():
        old.unlink()
    for volume in volumes:
        shutil.copy(volume, drive)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    place = tmp_path / "cdrom"
    place.mkdir()
    return place


def test_discs_one_after_the_other_and_some_that_do_not_belong(
    signed: Bundle, foreign: Bundle, keys: KeyPaths, drive: Path, tmp_path: Path
) -> None:
    volumes = signed.volumes
    insert(drive, volumes[1])
    person = Person("unpack", drive, "--store", tmp_path / "store", "--key", keys.public)
    said = person.wait_for(QUESTION).partition(b"still needed")[2]
    assert volumes[0].name.encode() in said
    assert volumes[1].name.encode() not in said
    insert(drive)
    person.type("")
    assert b"no volume" in person.wait_for(QUESTION)
    insert(drive, foreign.volumes[0])
    person.type("")
    assert b"another bundle" in person.wait_for(QUESTION)
    for volume in (volume for volume in volumes[:-1] if volume != volumes[1]):
        insert(drive, volume)
        person.type("")
        assert volumes[-1].name.encode() in person.wait_for(QUESTION)
    assert not (tmp_path / "store").exists()
    person.type(str(volumes[-1]))
    assert person.status() == 0
    assert tree(tmp_path / "store") == signed.tree
    assert not list(tmp_path.glob("store.incoming/*"))


@pytest.mark.parametrize("answer", ["q", "\x04"])
def test_giving_up_keeps_what_was_read(
    signed: Bundle, keys: KeyPaths, drive: Path, tmp_path: Path, answer: str
) -> None:
    insert(drive, *signed.volumes[:-1])
    words = ("unpack", drive, "--store", tmp_path / "store", "--key", keys.public)
    person = Person(*words)
    person.wait_for(QUESTION)
    person.type(answer)
    assert person.status() == 3
    insert(drive, signed.volumes[-1])
    assert Person(*words).status() == 0
    assert tree(tmp_path / "store") == signed.tree


def test_a_damaged_disc_is_said_and_another_copy_of_it_taken(
    signed: Bundle, keys: KeyPaths, drive: Path, tmp_path: Path
) -> None:
    insert(drive, *signed.volumes[1:])
    person = Person("unpack", drive, "--store", tmp_path / "store", "--key", keys.public)
    person.wait_for(QUESTION)
    insert(drive, signed.volumes[0])
    data = bytearray((drive / signed.volumes[0].name).read_bytes())
    data[len(data) // 2] ^= 1
    (drive / signed.volumes[0].name).write_bytes(data)
    person.type("")
    assert b"is damaged" in person.wait_for(QUESTION)
    insert(drive, signed.volumes[0])
    person.type("")
    assert person.status() == 0
    assert tree(tmp_path / "store") == signed.tree


def test_nobody_is_asked_in_a_pipe(signed: Bundle, drive: Path, tmp_path: Path) -> None:
    insert(drive, signed.volumes[0])
    done = subprocess.run(
        [sys.executable, "-m", "isthmus", "unpack", drive, "--store", tmp_path / "store"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert QUESTION not in done.stderr
