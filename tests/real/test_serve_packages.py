"""apt and dnf install from trees that the file server has, with their own signatures, over loopback alone."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.content import make_tree
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.store import Store
from tests.real import programs
from tests.real.programs import output, short_directory

pytestmark = pytest.mark.real


@pytest.fixture
def home() -> Iterator[Path]:
    """gpg's sockets need short paths."""
    place = short_directory()
    yield place
    subprocess.run(["gpgconf", "--homedir", str(place), "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(place, ignore_errors=True)


def _key(home: Path) -> Path:
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    output(*gpg, "--quick-generate-key", "Archive <archive@example.org>", "ed25519", "sign", "1d")
    public = home / "archive.gpg"
    public.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    return public


def _package(place: Path) -> Path:
    tree = place / "hello"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: isthmus-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    )
    (tree / "usr" / "share" / "isthmus-hello").mkdir(parents=True)
    (tree / "usr" / "share" / "isthmus-hello" / "text").write_text("hello\n" * 1000)
    return tree


def _repository(place: Path, home: Path) -> Path:
    """A signed suite with one package, as a publisher makes it."""
    root = place / "repository"
    (root / "pool").mkdir(parents=True)
    index = root / "dists" / "stable" / "main" / "binary-all"
    index.mkdir(parents=True)
    output("dpkg-deb", "--root-owner-group", "-b", _package(place), root / "pool" / "hello.deb")
    packages = subprocess.run(["apt-ftparchive", "packages", "pool"], check=True, capture_output=True, cwd=root)
    (index / "Packages").write_bytes(packages.stdout)
    for architecture in ("amd64", "arm64"):
        other = index.parent / f"binary-{architecture}"
        other.mkdir()
        (other / "Packages").write_bytes(packages.stdout)
    options = ["-o", "APT::FTPArchive::Release::Suite=stable", "-o", "APT::FTPArchive::Release::Codename=stable",
               "-o", "APT::FTPArchive::Release::Components=main",
               "-o", "APT::FTPArchive::Release::Architectures=all amd64 arm64"]  # fmt: skip
    made = subprocess.run(
        ["apt-ftparchive", *options, "release", "dists/stable"], check=True, capture_output=True, cwd=root
    )
    release = root / "dists" / "stable" / "Release"
    release.write_bytes(made.stdout)
    output("gpg", "--homedir", home, "--batch", "--clearsign", "-o", release.with_name("InRelease"), release)
    return root


def _apt(root: Path, *arguments: str) -> str:
    """In a private root, which knows nothing of the machine's own sources."""
    options = {
        "Dir::Etc": root / "etc", "Dir::Etc::sourcelist": root / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::parts": "/dev/null", "Dir::Etc::main": "/dev/null",
        "Dir::State": root / "state", "Dir::Cache": root / "cache", "Dir::State::status": root / "status",
        "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Debug::NoLocking": "1",
    }  # fmt: skip
    command = [
        "apt-get",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        *arguments,
    ]
    environment = {**os.environ, "http_proxy": "", "APT_CONFIG": "/dev/null", "LC_ALL": "C"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=root, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_apt(tmp_path: Path, home: Path) -> None:
    programs.require("apt-get", "apt-ftparchive", "dpkg-deb", "gpg")
    key = _key(home)
    repository = _repository(tmp_path, home)
    files: dict[str, bytes | Path] = {
        path.relative_to(repository).as_posix(): path for path in repository.rglob("*") if path.is_file()
    }
    with Store.create(tmp_path / "store") as store:
        make_tree(store, "packages", "https://deb.example.org/debian", files, serve="debian")
    thread = ServerThread(tmp_path / "store", MirrorMap(), Listen(files=("127.0.0.1", 0)))
    try:
        for number, path in enumerate(("debian", "deb.example.org/debian")):
            root = tmp_path / f"root-{number}"
            for name in ("etc", "state/lists/partial", "cache/archives/partial"):
                (root / name).mkdir(parents=True)
            (root / "status").write_text("")
            source = f"deb [signed-by={key}] http://{thread.files_address}/{path} stable main\n"
            (root / "etc" / "sources.list").write_text(source)
            _apt(root, "update", "--error-on=any")
            assert "Hit:" in _apt(root, "update", "--error-on=any")
            _apt(root, "download", "isthmus-hello")
            (package,) = root.glob("isthmus-hello*.deb")
            output("dpkg-deb", "-x", package, root / "unpacked")
            assert (root / "unpacked" / "usr/share/isthmus-hello/text").read_text().startswith("hello")
    finally:
        thread.stop()
