"""A partial RPM repository, made with rpmbuild and createrepo_c, carried, and used by the real dnf."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.content import things
from isthmus.store import Store
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(map(shutil.which, ("rpmbuild", "createrepo_c", "dnf", "gpg", "gpgv"))),
        reason="needs rpm, createrepo-c, dnf, gnupg, gpgv (Debian packages)",
    ),
]
SPEC = """\
Name: {name}
Version: 1.0
Release: 1
Summary: x
License: x
BuildArch: noarch
{requires}
%description
x
%files
"""


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


@pytest.fixture
def home() -> Iterator[Path]:
    place = Path("/tmp") / f"isthmus-gpg-{os.getpid()}-r"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    yield place
    subprocess.run(["gpgconf", "--homedir", str(place), "--kill", "all"], check=False)
    shutil.rmtree(place)


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def make_repository(top: Path, home: Path, work: Path) -> Path:
    top.mkdir(parents=True)
    for name, requires in (("tool", "libthing"), ("libthing", ""), ("unwanted", "tool")):
        spec = work / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, requires=f"Requires: {requires}" if requires else ""))
        run(
            "rpmbuild", "-bb", "--define", f"_topdir {work}/rpm", "--define", f"_rpmdir {top}", str(spec), cwd=work
        )
    run("createrepo_c", "--no-database", str(top), cwd=work)
    base = ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback"]
    run(*base, "--passphrase", "", "--quick-generate-key", "a <a@x.example>", "rsa2048", "sign", "never", cwd=work)
    run(*base, "--armor", "--detach-sign", str(top / "repodata/repomd.xml"), cwd=work)
    public = work / "public.asc"
    public.write_text(run(*base, "--armor", "--export", cwd=work).stdout)
    return public


def test_dnf_installs_from_what_was_carried(
    place: Workplace, publisher: Publisher, home: Path, tmp_path: Path
) -> None:
    work = tmp_path / "build"
    work.mkdir()
    public = make_repository(publisher.root / "repo", home, work)
    packages = {"rpm": f"{publisher.url}/repo", "names": ["tool"], "keyring": str(public)}
    place.write({"packages": packages, "serve": "rpm/repo"})
    status, told = place.run("lock")
    assert status == 0, str(told)
    (entry,) = place.entries().values()
    assert entry.resolved == ("libthing-1.0-1.noarch", "tool-1.0-1.noarch")
    assert entry.verified_by[0].startswith("gpg ")
    assert place.run("pull")[0] == 0
    site = Publisher(tmp_path / "served")
    with Store.open(place.store) as store:
        for thing in things(store):
            for path, layer in thing.paths():
                (site.root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.blob_path(layer.digest), site.root / path)
    node = tmp_path / "node"
    (node / "repos").mkdir(parents=True)
    (node / "repos/site.repo").write_text(
        f"[site]\nname=site\nbaseurl={site.url}/rpm/repo\ngpgcheck=0\nrepo_gpgcheck=1\ngpgkey=file://{public}\n"
    )
    (node / "dnf.conf").write_text(
        f"[main]\nreposdir={node}/repos\ncachedir={node}/cache\npersistdir={node}/persist\nlogdir={node}\n"
        "install_weak_deps=0\nplugins=0\nproxy=\n"
    )
    done = run(
        "dnf", "-c", str(node / "dnf.conf"), f"--installroot={node}/root", "--releasever=9", "--forcearch=x86_64",
        "-y", "install", "--downloadonly", "tool", cwd=node,
    )  # fmt: skip
    assert "Complete" in done.stdout
    assert sorted(path.name for path in node.rglob("*.rpm")) == [
        "libthing-1.0-1.noarch.rpm",
        "tool-1.0-1.noarch.rpm",
    ]
    site.server.shutdown()
    site.server.server_close()


def test_another_signer_is_refused(place: Workplace, publisher: Publisher, home: Path, tmp_path: Path) -> None:
    work = tmp_path / "build"
    work.mkdir()
    public = make_repository(publisher.root / "repo", home, work)
    target = publisher.root / "repo/repodata/repomd.xml"
    target.write_bytes(target.read_bytes() + b"\n")
    place.write({"packages": {"rpm": f"{publisher.url}/repo", "names": ["tool"], "keyring": str(public)}})
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "bad-signature")
