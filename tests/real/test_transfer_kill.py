"""`mirror` and `push` killed with SIGKILL at random points, into Debian's docker-registry.

Running again completes, and moves only what the registry had not taken. Until then no tag is there.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.demo.images import filler, make_layer, name_it, put_image
from isthmus.inventory.lock import read_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Manifest
from isthmus.registry import ConnectionOptions, connect
from isthmus.serve import serving
from isthmus.store import Store
from isthmus.transfer import Upstreams, mirror, push
from tests.real.conftest import StartRegistry
from tests.real.docker_registry import DockerRegistry

ROUNDS = 20
NAMES = [f"quay.io/kill/image{number}:1" for number in range(6)]

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Manifest]]:
    """A store with six images on one base, and their manifests."""
    path = tmp_path_factory.mktemp("kill") / "store"
    base = make_layer({"base": filler("base", 5_000_000)})
    with Store.create(path) as store:
        manifests = {}
        for name in NAMES:
            own = make_layer({"own": filler(name, 1_500_000)})
            manifests[name] = put_image(store, name.rpartition(":")[0], [base, own])
            name_it(store, name, manifests[name])
    return path, manifests


@pytest.fixture
def upstream(built: tuple[Path, dict[str, Manifest]]) -> Iterator[str]:
    with serving(built[0], MirrorMap(prefix="")) as address:
        yield f"quay.io=http://{address}/quay.io"


def wanted_blobs(manifests: dict[str, Manifest]) -> dict[str, int]:
    return {str(blob.digest): blob.size for manifest in manifests.values() for blob in manifest.blobs}


def tags_there(registry: DockerRegistry) -> list[Path]:
    # Not by glob: the registry removes directories meanwhile.
    top = registry.storage / "docker/registry/v2/repositories"
    return [Path(place) for place, _, files in os.walk(top) if place.endswith("/current") and "link" in files]


def taken(registry: DockerRegistry) -> set[str]:
    """Blobs that some repository has: content without a link is not there for anybody."""
    top = registry.storage / "docker/registry/v2/repositories"
    return {
        f"sha256:{place.rpartition('/')[2]}"
        for place, _, files in os.walk(top)
        if "/_layers/sha256/" in place and "link" in files
    }


def settled(registry: DockerRegistry) -> set[str]:
    """What the registry has once it is done with what it received from a client that is gone."""
    before: set[str] = set()
    for _ in range(100):
        time.sleep(0.05)
        now = taken(registry)
        if now == before:
            break
        before = now
    return before


def kill_and_run_again(
    command: list[str],
    again: Callable[[], int],
    place: Path,
    registry: DockerRegistry,
    manifests: dict[str, Manifest],
) -> None:
    """Kill the command ROUNDS times into an empty registry; `again` completes it, and returns bytes moved."""
    wanted = wanted_blobs(manifests)
    chance = random.Random(20261124)
    started = time.monotonic()
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    longest = max(time.monotonic() - started - 0.4, 0.1)
    killed = caught_in_the_middle = 0
    for number in range(ROUNDS * 3):  # more than ROUNDS only where kills came too early or too late
        shutil.rmtree(registry.storage)
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (registry.storage / "docker").exists():
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.6) * longest)
        os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        there = settled(registry)
        missing = sum(size for digest, size in wanted.items() if digest not in there)
        caught_in_the_middle += 0 < missing < sum(wanted.values())
        assert not (missing and tags_there(registry)), "a tag before its content"
        if number % 5:
            moved = again()
        else:
            done = subprocess.run(command, cwd=place, check=True, capture_output=True)
            moved = json.loads(done.stdout)["bytes"]
        assert moved <= missing, "the registry may have taken more meanwhile, but never less"
        assert_complete(registry, manifests)
        enough = killed >= ROUNDS // 2 and caught_in_the_middle >= ROUNDS // 4
        if enough and number + 1 >= ROUNDS:
            break
    assert killed >= ROUNDS // 2, "the kills came too late to say anything"
    assert caught_in_the_middle >= ROUNDS // 4


def assert_complete(registry: DockerRegistry, manifests: dict[str, Manifest]) -> None:
    with connect(registry.address) as check:
        for name, manifest in manifests.items():
            repository, _, tag = name.rpartition(":")
            found = check.manifest_digest(f"mirror/{repository}", tag)
            assert found is not None
            assert found.digest == manifest.digest
            assert all(check.has_blob(f"mirror/{repository}", blob) for blob in manifest.blobs)


def test_push_killed_anywhere(
    built: tuple[Path, dict[str, Manifest]], tmp_path: Path, docker_registry: StartRegistry
) -> None:
    store, manifests = built
    registry = docker_registry()
    command = [sys.executable, "-m", "isthmus", "push", "--store", str(store), "--to", registry.address, "--json"]

    def again() -> int:
        with Store.open(store) as held, connect(registry.address) as target:
            return push(held, target, MirrorMap()).bytes

    kill_and_run_again(command, again, tmp_path, registry, manifests)


def mirror_command(upstream: str, place: Path, registry: DockerRegistry) -> list[str]:
    """Lock, and return the words of `mirror`."""
    (place / "list.txt").write_text("\n".join(NAMES))
    isthmus = [sys.executable, "-m", "isthmus"]
    subprocess.run([*isthmus, "lock", "images:list.txt", "-q", "--upstream", upstream], cwd=place, check=True)
    return [*isthmus, "mirror", "--upstream", upstream, "--to", registry.address, "--json"]


def test_three_shards_at_once_one_killed_and_started_again(
    built: tuple[Path, dict[str, Manifest]], upstream: str, tmp_path: Path, docker_registry: StartRegistry
) -> None:
    _, manifests = built
    wanted = wanted_blobs(manifests)
    for attempt in range(6):
        registry = docker_registry()
        command = mirror_command(upstream, tmp_path, registry)
        shards = [
            subprocess.Popen([*command, "--shard", f"{index}/3"], cwd=tmp_path, stdout=subprocess.PIPE)
            for index in range(3)
        ]
        # In the middle if it can be had; where that comes too late again and again, at the very beginning.
        while attempt < 4 and not taken(registry) and shards[1].poll() is None:
            time.sleep(0.002)
        shards[1].kill()
        documents = [json.loads(process.communicate(timeout=60)[0] or "{}") for process in shards]
        there = settled(registry)
        if shards[1].returncode == -signal.SIGKILL and set(wanted) - there:
            break
    assert [process.returncode for process in shards] == [0, -signal.SIGKILL, 0]
    finish = subprocess.run([*command, "--finish"], cwd=tmp_path, capture_output=True, check=False)
    assert finish.returncode == 3, finish.stdout
    missing = {str(item).partition("@")[2] for item in json.loads(finish.stdout)["error"]["items"]}
    assert missing >= set(wanted) - there
    assert tags_there(registry) == []
    again = subprocess.run([*command, "--shard", "1/3"], cwd=tmp_path, capture_output=True, check=True)
    documents[1] = json.loads(again.stdout)
    assert [document["finished"] for document in documents] == [False, True, False]
    assert documents[1]["bytes"] == sum(size for digest, size in wanted.items() if digest not in there)
    assert sum(document["bytes"] for document in documents) <= sum(wanted.values())
    assert_complete(registry, manifests)
    subprocess.run([*command, "--finish"], cwd=tmp_path, capture_output=True, check=True)


def test_mirror_killed_anywhere(
    built: tuple[Path, dict[str, Manifest]], upstream: str, tmp_path: Path, docker_registry: StartRegistry
) -> None:
    _, manifests = built
    registry = docker_registry()
    command = mirror_command(upstream, tmp_path, registry)
    entries = read_lock(tmp_path / "isthmus.lock").references
    host, _, url = upstream.partition("=")

    def again() -> int:
        with Upstreams(ConnectionOptions(), {host: url}) as upstreams, connect(registry.address) as target:
            return mirror(entries, upstreams, target, MirrorMap()).bytes

    kill_and_run_again(command, again, tmp_path, registry, manifests)
