"""Git repositories: the refs that are asked for, cloned by the real git from what is carried."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus.content import things
from isthmus.store import Store
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git (Debian package git)")
_WHO = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env={**os.environ, **_WHO}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    work = tmp_path / "origin"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for number in range(5):
        (work / f"file{number}").write_text(f"{number}\n" * 500)
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", f"commit {number}")
        git(work, "tag", *(["-a", "-m", "annotated"] if number % 2 else []), f"v1.{number}")
    git(work, "checkout", "-q", "-b", "secret")
    (work / "secret").write_text("not to be carried")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "secret")
    git(work, "checkout", "-q", "main")
    return work


def lay_out(store: Path, where: Path) -> None:
    """As the file server has it."""
    with Store.open(store) as held:
        for thing in things(held):
            for path, layer in thing.paths():
                (where / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(held.blob_path(layer.digest), where / path)


def test_a_repository_is_cloned_from_plain_http(
    place: Workplace, origin: Path, publisher: Publisher, tmp_path: Path
) -> None:
    url = f"file://{origin}"
    place.write({"git": url, "refs": ["main", "v1.*"], "serve": "git/origin.git"})
    assert place.run("lock")[0] == 0
    entry = place.entries()[url]
    assert entry.resolved[0] == f"refs/heads/main {git(origin, 'rev-parse', 'main')}"
    assert len(entry.resolved) == 6
    assert entry.created == "2026-01-02T03:04:05Z"
    assert place.run("pull")[0] == 0
    lay_out(place.store, publisher.root)
    git(tmp_path, "clone", "-q", f"{publisher.url}/git/origin.git", "clone")
    clone = tmp_path / "clone"
    assert git(clone, "rev-parse", "HEAD") == git(origin, "rev-parse", "main")
    assert git(clone, "tag").split() == [f"v1.{number}" for number in range(5)]
    assert git(clone, "rev-parse", "v1.3") == git(origin, "rev-parse", "v1.3")
    assert git(clone, "fsck", "--strict") == ""
    secret = git(origin, "rev-parse", "secret")
    found = subprocess.run(["git", "cat-file", "-e", secret], cwd=clone, capture_output=True, check=False)
    assert found.returncode != 0


def test_the_same_refs_are_the_same_bytes(place: Workplace, origin: Path) -> None:
    place.write({"git": f"file://{origin}", "serve": "git/o.git"})
    assert place.run("lock")[0] == 0
    before = place.lock.read_bytes()
    git(origin, "checkout", "-q", "secret")
    shutil.rmtree(place.directory / ".isthmus")
    place.write({"git": f"file://{origin}", "serve": "git/o.git", "refs": ["main"]})
    git(origin, "gc", "-q")
    assert place.run("lock")[0] == 0
    assert place.lock.read_bytes() == before
    git(origin, "checkout", "-q", "main")
    git(origin, "commit", "-q", "--allow-empty", "-m", "more")
    assert place.run("lock")[1]["changed"][0].startswith("changed ")


def test_another_machine_is_told_to_lock_again(place: Workplace, origin: Path) -> None:
    place.write({"git": f"file://{origin}", "serve": "git/o.git"})
    assert place.run("lock")[0] == 0
    shutil.rmtree(place.directory / ".isthmus")
    status, told = place.run("pull")
    assert (status, told["error"]["code"]) == (3, "missing-content")
    assert "isthmus lock" in told["error"]["hint"]


@pytest.mark.parametrize("url", ["file:///no/such/place", "-oProxyCommand=id", "ext::sh -c id", "relative/path"])
def test_what_is_no_repository_is_said(place: Workplace, url: str) -> None:
    place.write({"git": url})
    status, told = place.run("lock")
    assert status in (3, 5)
    assert "Traceback" not in str(told)


def test_a_ref_that_is_not_there_is_said(place: Workplace, origin: Path) -> None:
    place.write({"git": f"file://{origin}", "refs": ["main", "v9*"]})
    status, told = place.run("lock")
    assert status == 3
    assert "v9*" in told["error"]["items"][0]


def test_without_git_the_error_is_ours(place: Workplace, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    place.write({"git": f"file://{origin}"})
    status, told = place.run("lock")
    assert status == 3
    assert "no git on this machine" in told["error"]["items"][0]


def test_what_did_not_move_is_not_fetched_again(
    place: Workplace, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write({"git": f"file://{origin}", "serve": "git/o.git"})
    assert place.run("lock")[0] == 0
    before = place.lock.read_bytes()
    monkeypatch.setattr("isthmus.content.git._fetch", lambda *_: pytest.fail("fetched"))
    assert place.run("lock")[0] == 0
    assert place.lock.read_bytes() == before
