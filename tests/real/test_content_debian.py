"""A partial Debian repository, made with apt-ftparchive and GPG, carried, and used by the real apt."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.bundle import pack, plan_bundle, unpack
from isthmus.content import things
from isthmus.store import Store
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(map(shutil.which, ("apt-get", "apt-ftparchive", "dpkg-deb", "gpg", "gpgv"))),
        reason="needs apt, apt-utils, dpkg, gnupg, gpgv (Debian packages)",
    ),
]


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Workplace:
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return Workplace(directory, capsys)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path / "published")
    yield made
    made.server.shutdown()
    made.server.server_close()


class Keys:
    """An OpenPGP key of its own."""

    def __init__(self, home: Path, name: str) -> None:
        self.home, self.name = home, name
        home.mkdir(mode=0o700, parents=True)
        self.gpg(
            "--passphrase", "", "--quick-generate-key", f"{name} <{name}@x.example>", "ed25519", "sign", "never"
        )
        self.public = home / "public.asc"
        self.public.write_bytes(self.gpg("--armor", "--export"))
        self.secret = home / "secret.asc"
        self.secret.write_bytes(self.gpg("--passphrase", "", "--armor", "--export-secret-keys"))

    def gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        base = [
            "gpg",
            "--homedir",
            str(self.home),
            "--batch",
            "--no-tty",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        ]
        return subprocess.run([*base, *arguments], input=given, capture_output=True, check=True).stdout

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    # The socket of the agent needs a short path.
    home = Path("/tmp") / f"isthmus-gpg-{os.getpid()}-{tmp_path.name[-6:]}"
    shutil.rmtree(home, ignore_errors=True)
    made = Keys(home, "distribution")
    yield made
    made.close()
    shutil.rmtree(home, ignore_errors=True)


def deb(pool: Path, name: str, version: str, depends: str = "") -> None:
    root = pool.parent / "build" / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/share" / name).mkdir(parents=True)
    (root / "usr/share" / name / "file").write_text(f"{name} {version}\n")
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@x>\nDescription: {name}\n"
    )
    (root / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
    pool.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "-b", str(root), str(pool)], check=True, capture_output=True)


def make_repository(top: Path, keys: Keys, *, by_hash: bool, valid: str = "") -> None:
    for name, depends in (("tool", "libtool-thing (>= 1.0)"), ("libtool-thing", ""), ("unwanted", "tool")):
        deb(top / "pool/main", name, "1.0", depends)
    lists = top / "dists/stable/main/binary-amd64"
    lists.mkdir(parents=True)
    packages = subprocess.run(
        ["apt-ftparchive", "packages", "pool/main"], cwd=top, capture_output=True, check=True
    ).stdout
    (lists / "Packages").write_bytes(packages)
    subprocess.run(["xz", "-k", str(lists / "Packages")], check=True)
    options = ["Suite=stable", "Codename=stable", "Components=main", "Architectures=amd64"]
    if by_hash:
        options.append("Acquire-By-Hash=yes")
    command = ["apt-ftparchive"]
    for option in options:
        name, _, value = option.partition("=")
        command += ["-o", f"APT::FTPArchive::Release::{name}={value}"]
    release = subprocess.run(
        [*command, "release", "dists/stable"], cwd=top, capture_output=True, check=True
    ).stdout
    if valid:
        release = f"Valid-Until: {valid}\n".encode() + release
    if by_hash:
        (lists / "by-hash/SHA256").mkdir(parents=True)
        import hashlib

        for name in ("Packages", "Packages.xz"):
            data = (lists / name).read_bytes()
            (lists / "by-hash/SHA256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    (top / "dists/stable/InRelease").write_bytes(keys.gpg("--clearsign", given=release))
    shutil.rmtree(top / "pool/build", ignore_errors=True)


def apt(root: Path, url: str, keyring: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name in ("state/lists/partial", "cache/archives/partial", "etc/none", "log"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "etc/sources.list").write_text(f"deb [arch=amd64 signed-by={keyring}] {url} stable main\n")
    settings = {
        "Dir": root,
        "Dir::State": root / "state", "Dir::State::status": root / "status", "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc", "Dir::Etc::parts": "none", "Dir::Etc::sourceparts": "none",
        "Dir::Log": root / "log",
        "Dir::Etc::trustedparts": "none", "APT::Architecture": "amd64", "APT::Sandbox::User": "",
    }  # fmt: skip
    (root / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items())
                                   + 'APT::Architectures { "amd64"; };\n')  # fmt: skip
    environment = {**os.environ, "APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C"}
    environment |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        ["apt-get", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        timeout=120,
    )


@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize("signed", [False, True])
def test_apt_installs_from_what_was_carried(
    place: Workplace, publisher: Publisher, keys: Keys, tmp_path: Path, by_hash: bool, signed: bool
) -> None:
    make_repository(publisher.root / "debian", keys, by_hash=by_hash)
    packages = {
        "debian": f"{publisher.url}/debian",
        "suite": "stable",
        "names": ["tool"],
        "keyring": str(keys.public),
    }
    if signed:
        packages["sign"] = str(keys.secret)
    place.write({"packages": packages, "serve": "debian"})
    status, told = place.run("lock")
    assert status == 0, str(told)
    (entry,) = place.entries().values()
    assert entry.resolved == ("libtool-thing_1.0_amd64", "tool_1.0_amd64")
    assert entry.verified_by[0].startswith("gpg ")
    before = place.lock.read_bytes()
    assert place.run("lock")[0] == 0
    assert place.lock.read_bytes() == before
    assert place.run("pull")[0] == 0
    with Store.open(place.store) as store:
        pack(plan_bundle(store), store, tmp_path / "bundle")
    unpack([tmp_path / "bundle"], tmp_path / "site")
    site = Publisher(tmp_path / "served")
    with Store.open(tmp_path / "site") as store:
        for thing in things(store):
            for path, layer in thing.paths():
                (site.root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.blob_path(layer.digest), site.root / path)
    node = tmp_path / "node"
    updated = apt(node, f"{site.url}/debian", keys.public, "update", "-o", "Acquire::Languages=none")
    assert updated.returncode == 0, updated.stderr
    assert "W:" not in updated.stderr
    done = apt(node, f"{site.url}/debian", keys.public, "install", "-y", "--download-only", "tool")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (node / "cache/archives").glob("*.deb")) == [
        "libtool-thing_1.0_amd64.deb",
        "tool_1.0_amd64.deb",
    ]
    assert not list(site.root.rglob("unwanted*"))
    site.server.shutdown()
    site.server.server_close()


def test_what_is_wrong_with_a_repository_is_said(place: Workplace, publisher: Publisher, keys: Keys) -> None:
    top = publisher.root / "debian"
    make_repository(top, keys, by_hash=False)
    base = {"debian": f"{publisher.url}/debian", "suite": "stable", "keyring": str(keys.public)}
    place.write({"packages": {**base, "names": ["nothing-like-this"]}})
    status, told = place.run("lock")
    assert status == 3
    assert "nothing-like-this" in told["error"]["items"][0]
    other = Path(str(keys.home) + "-other")
    shutil.rmtree(other, ignore_errors=True)
    stranger = Keys(other, "stranger")
    try:
        place.write({"packages": {**base, "names": ["tool"], "keyring": str(stranger.public)}})
        status, told = place.run("lock")
        assert (status, told["error"]["code"]) == (4, "bad-signature")
    finally:
        stranger.close()
        shutil.rmtree(other)
    release = top / "dists/stable/InRelease"
    good = release.read_bytes()
    release.write_bytes(good.replace(b"Suite: stable", b"Suite: unstable"))
    place.write({"packages": {**base, "names": ["tool"]}})
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "bad-signature")
    release.write_bytes(good)
    shutil.rmtree(place.directory / ".isthmus")
    lists = top / "dists/stable/main/binary-amd64/Packages.xz"
    lists.write_bytes(lists.read_bytes()[:-4] + b"evil")
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "digest-mismatch")


def test_a_suite_that_is_too_old_is_refused(place: Workplace, publisher: Publisher, keys: Keys) -> None:
    make_repository(publisher.root / "debian", keys, by_hash=False, valid="Thu, 01 Jan 2026 00:00:00 UTC")
    packages = {
        "debian": f"{publisher.url}/debian",
        "suite": "stable",
        "names": ["tool"],
        "keyring": str(keys.public),
    }
    place.write({"packages": packages})
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "bad-signature")
    assert "until 2026-01-01" in told["error"]["message"]
