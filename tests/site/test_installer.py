"""The installers, really run by a POSIX shell below a directory of the test."""

import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus.site.installer import Placed, installer
from isthmus.site.output import OutputFile, write_files

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    name: str = request.param
    return [name, "sh"] if name == "busybox" else [name]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    files = [
        OutputFile("part/certs.d/a.example/hosts.toml", b"a\n"),
        OutputFile("part/certs.d/b_5000_/hosts.toml", b"b\n"),
        OutputFile("part/settings", b"ours\n"),
        OutputFile("part/fresh", b"fresh\n"),
    ]
    placed = [
        Placed("certs.d", "/etc/thing/certs.d"),
        Placed("settings", "/etc/thing/settings", "0600"),
        Placed("fresh", "/etc/thing/kept", only_new=True),
        Placed("fresh", "/etc/thing/made", only_new=True),
        Placed("fresh", "/etc/thing/never", condition="false"),
    ]
    files.append(installer("part", "a thing", placed, after=['touch "$here/restarted"']))
    write_files(files, tmp_path / "out")
    return tmp_path / "out" / "part" / "install.sh"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "etc/thing").mkdir(parents=True)
    (directory / "etc/thing/settings").write_text("theirs\n")
    (directory / "etc/thing/kept").write_text("theirs\n")
    return directory


def run(shell: list[str], script: Path, *words: str | Path) -> str:
    done = subprocess.run([*shell, script, *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def tree(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(root)): (path.read_text(), path.stat().st_mode & 0o777)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_installs_once_and_takes_all_away_again(shell: list[str], script: Path, root: Path) -> None:
    before = tree(root)
    run(shell, script, "--root", root)
    after = tree(root)
    assert after["etc/thing/certs.d/a.example/hosts.toml"] == ("a\n", 0o644)
    assert after["etc/thing/settings"] == ("ours\n", 0o600)
    assert after["etc/thing/kept"][0] == "theirs\n"
    assert after["etc/thing/made"][0] == "fresh\n"
    assert "etc/thing/never" not in after
    assert run(shell, script, "--root", root) == "nothing to do\n"
    assert tree(root) == after
    run(shell, script, "--root", root, "--undo")
    assert tree(root) == before
    assert "nothing is installed" in run(shell, script, "--root", root, "--undo")


def test_a_dry_run_changes_nothing(shell: list[str], script: Path, root: Path) -> None:
    before = tree(root)
    said = run(shell, script, "--root", root, "--dry-run")
    assert f"would write {root}/etc/thing/settings" in said
    assert tree(root) == before
    run(shell, script, "--root", root)
    after = tree(root)
    assert "would bring back" in run(shell, script, "--root", root, "--undo", "--dry-run")
    assert tree(root) == after


def test_a_change_of_the_files_is_installed_and_still_undone_to_the_first(
    shell: list[str], script: Path, root: Path
) -> None:
    before = tree(root)
    run(shell, script, "--root", root)
    (script.parent / "settings").write_text("newer\n")
    run(shell, script, "--root", root)
    assert (root / "etc/thing/settings").read_text() == "newer\n"
    run(shell, script, "--root", root, "--undo")
    assert tree(root) == before


def test_nothing_is_restarted_below_a_root(shell: list[str], script: Path, root: Path) -> None:
    run(shell, script, "--root", root)
    assert not (script.parent / "restarted").exists()


def test_wrong_words_are_refused(shell: list[str], script: Path) -> None:
    done = subprocess.run([*shell, script, "--wrong"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
