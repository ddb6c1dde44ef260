"""Pruning against Debian's registry: by digest, below the prefix, and nothing that anything still needs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.cli.main import run
from isthmus.inventory.lock import Lock, LockEntry, read_lock, write_lock
from isthmus.registry import Registry, connect
from tests.real import docker_registry, programs
from tests.real.docker_registry import DockerRegistry
from tests.registry.samples import EMPTY, blob, image, options, write
from tests.transfer.images import API, SHARED, WEB, fill

pytestmark = pytest.mark.real
HOSTS = ("docker.io", "quay.io", "ghcr.io")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRegistry]:
    """A registry with the images at mirror/, and `all.lock` and `web.lock` of them."""
    programs.require("docker-registry")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    started = docker_registry.start(tmp_path / "registry")
    fill(tmp_path / "store", 10_000)
    assert run(["push", "--store", "store", "--to", started.address, "-q"]) == 0
    Path("list.txt").write_text(f"{WEB}\n{API}\n{SHARED}\n")
    upstream = [f"--upstream={host}={started.url}/mirror/{host}" for host in HOSTS]
    assert run(["lock", "images:list.txt", "--out", "all.lock", "-q", *upstream]) == 0
    entries = read_lock("all.lock").references
    write_lock("web.lock", Lock(references=tuple(one for one in entries if one.name == WEB)))
    yield started
    started.stop()


def prune(
    registry: DockerRegistry, capfd: pytest.CaptureFixture[str], *arguments: str, prefix: str = ""
) -> dict[str, object]:
    capfd.readouterr()
    status = run(["prune", "--to", f"{registry.address}{prefix}", "--json", *arguments])
    shown = capfd.readouterr().out
    assert status == 0, shown
    document: dict[str, object] = json.loads(shown)
    return document


def put(registry: Registry, repository: str, tag: str, content: bytes) -> None:
    for data in (EMPTY, content):
        write(registry.write_blob(repository, blob(data)), data)
    registry.put_manifest(repository, image(content), tag)


def tags(client: Registry, repository: str) -> set[str]:
    """What can be had by a tag."""
    return {tag for tag in client.tags(repository) if client.manifest_digest(repository, tag) is not None}


def test_nothing_goes_that_a_lock_names(registry: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    document = prune(registry, capfd, "--lock", "all.lock", "--apply")
    assert (document["unneeded"], document["deleted"]) == ([], 0)
    with connect(registry.address, options()) as client:
        for entry in read_lock("all.lock").references:
            repository = f"mirror/{entry.name.rpartition(':')[0]}"
            for digest in (entry.digest, *(one.digest for one in entry.referrers)):
                assert client.has_manifest(repository, digest)


def test_two_locks_keep_what_either_names(registry: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    entries = read_lock("all.lock").references
    write_lock("rest.lock", Lock(references=tuple(one for one in entries if one.name != WEB)))
    assert prune(registry, capfd, "--lock", "web.lock", "--lock", "rest.lock")["unneeded"] == []


def test_it_only_says_so_until_told_to(registry: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    document = prune(registry, capfd, "--lock", "web.lock")
    assert document["dry_run"] is True
    unneeded = document["unneeded"]
    assert isinstance(unneeded, list)
    assert {one["repository"] for one in unneeded} == {"mirror/quay.io/team/api", "mirror/ghcr.io/team/shared"}
    assert len(unneeded) == 4, "an image, an index and its two children"
    with connect(registry.address, options()) as client:
        assert tags(client, "mirror/quay.io/team/api") == {"2"}


def test_what_no_lock_names_goes_with_its_parts(
    registry: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    with connect(registry.address, options()) as client:
        index = client.manifest("mirror/quay.io/team/api", "2")
        put(client, "site/own", "1", b"the site's own")
        put(client, "mirror-of-others/docker.io/library/web", "1", b"another prefix")
        put(client, "mirror/notes", "1", b"no name of the mapping")
        put(client, "mirror/docker.io/library/web", "old", b"an older one")
        document = prune(registry, capfd, "--lock", "web.lock", "--apply")
        assert document["deleted"] == 5
        assert document["foreign"] == ["mirror/notes"]
        for digest in (index.digest, *(child.digest for child in index.manifests)):
            assert not client.has_manifest("mirror/quay.io/team/api", digest)
        assert "old" not in tags(client, "mirror/docker.io/library/web")
        assert "1" in tags(client, "mirror/docker.io/library/web")
        for repository in ("site/own", "mirror-of-others/docker.io/library/web", "mirror/notes"):
            assert tags(client, repository) == {"1"}
        web = read_lock("web.lock").references[0]
        for referrer in web.referrers:
            assert client.has_manifest("mirror/docker.io/library/web", referrer.digest)
    again = prune(registry, capfd, "--lock", "web.lock", "--apply")
    assert (again["unneeded"], again["deleted"]) == ([], 0)


def test_another_tag_of_what_is_needed_stays(registry: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    with connect(registry.address, options()) as client:
        client.put_manifest(
            "mirror/docker.io/library/web", client.manifest("mirror/docker.io/library/web", "1"), "x"
        )
        prune(registry, capfd, "--lock", "web.lock", "--apply")
        assert {"1", "x"} <= tags(client, "mirror/docker.io/library/web")


def test_a_repository_in_which_something_is_missing_is_left_alone(
    registry: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    web = read_lock("web.lock").references[0]
    coming = LockEntry(kind="image", name=WEB, digest=image(b"new").digest)
    write_lock("coming.lock", Lock(references=(coming,)))
    document = prune(registry, capfd, "--lock", "coming.lock", "--apply")
    assert document["incomplete"] == ["mirror/docker.io/library/web"]
    with connect(registry.address, options()) as client:
        assert client.has_manifest("mirror/docker.io/library/web", web.digest)


def test_an_image_that_stands_in_for_its_index_is_what_the_lock_names(
    registry: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    upstream = [f"--upstream={host}={registry.url}/mirror/{host}" for host in HOSTS]
    lock = ["lock", "images:list.txt", "--platform", "linux/amd64", "--out", "part.lock", "-q", *upstream]
    assert run(lock) == 0
    to = f"{registry.address}/part"
    assert run(["mirror", "--lock", "part.lock", "--to", to, "--single-platform", "-q", *upstream]) == 0
    (api,) = [entry for entry in read_lock("part.lock").references if entry.name == API]
    with connect(registry.address, options()) as client:
        assert client.manifest("part/quay.io/team/api", "2").digest == api.stand_in
        put(client, "part/quay.io/team/api", "old", b"an older one")
        document = prune(registry, capfd, "--lock", "part.lock", "--apply", prefix="/part")
        assert (document["deleted"], document["incomplete"], document["stale"]) == (1, [], [])
        assert tags(client, "part/quay.io/team/api") == {"2"}


def test_another_mapping_than_names_came_by_deletes_nothing(
    registry: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["prune", "--to", f"{registry.address}/mirror", "--lock", "all.lock", "--mapping", "flat"]
    assert run([*words, "--apply", "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["code"] == "wrong-usage"
    assert "--mapping" in error["hint"]
    assert prune(registry, capfd, "--lock", "all.lock")["unneeded"] == []


def test_a_tag_that_was_moved_is_listed_and_left(
    registry: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    with connect(registry.address, options()) as client:
        put(client, "mirror/docker.io/library/web", "1", b"moved by somebody")
        document = prune(registry, capfd, "--lock", "web.lock", "--apply")
        assert document["stale"] == ["mirror/docker.io/library/web:1"]
        assert client.manifest("mirror/docker.io/library/web", "1").digest == image(b"moved by somebody").digest


def test_what_would_delete_everything_is_refused(registry: DockerRegistry) -> None:
    write_lock("empty.lock", Lock())
    assert run(["prune", "--to", registry.address, "--lock", "empty.lock", "--apply"]) == 2
    assert run(["prune", "--to", registry.address, "--lock", "web.lock", "--mapping", "flat", "--apply"]) == 2
    assert run(["prune", "--to", registry.address]) == 2


def test_a_registry_that_does_not_delete_says_what_to_do(
    tmp_path: Path, registry: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    fixed = docker_registry.start(tmp_path / "fixed", delete=False)
    try:
        assert run(["push", "--store", "store", "--to", fixed.address, "-q"]) == 0
        capfd.readouterr()
        assert run(["prune", "--to", fixed.address, "--lock", "web.lock", "--apply", "--json"]) == 5
        assert "storage.delete.enabled" in json.loads(capfd.readouterr().out)["error"]["hint"]
    finally:
        fixed.stop()
