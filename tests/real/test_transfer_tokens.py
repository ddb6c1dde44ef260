"""Uploads in one PUT into Debian's registry with tokens that are good for two seconds and really checked.

The upstream is slow enough for a token to end between the beginning of an upload and its bytes.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.cli.main import run
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Manifest
from isthmus.serve import serving
from tests.real.conftest import StartRegistry
from tests.real.docker_registry import DockerRegistry
from tests.real.token_server import TokenServer, giving_tokens
from tests.registry.faults import Asked, Reply
from tests.transfer.front import PASSWORD, Front
from tests.transfer.images import SHARED, WEB, fill

pytestmark = pytest.mark.real

LIFE = 2.0
SLOW = 2.2
"""Seconds, after which every token that there was has ended."""
SIZE = 20_000_000
"""Bytes; far more than fit into the sockets, and less than what goes in chunks."""
HOSTS = ("docker.io", "ghcr.io")

Start = Callable[[float], tuple[DockerRegistry, TokenServer]]


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Manifest]:
    """What is upstream; `isthmus.lock` of two images that share a large layer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARGET_AUTH", f"user:{PASSWORD}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    monkeypatch.setattr("isthmus.transfer.blob.FIRST_PAUSE", 0.01)
    made = fill(tmp_path / "upstream", layer_size=SIZE)
    entries = tuple(LockEntry("image", name, made[name].digest) for name in (WEB, SHARED))
    write_lock("isthmus.lock", Lock(references=entries))
    return made


@pytest.fixture
def upstream(manifests: dict[str, Manifest], tmp_path: Path) -> Iterator[Front]:
    """It takes its time for the first byte of the large layer, once."""
    large = max(manifests[WEB].layers, key=lambda layer: layer.size)
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address, Front(address) as front:

        def late(asked: Asked) -> Reply:
            time.sleep(SLOW)
            return front.pass_on(asked)

        front.spoil("GET", f"/v2/.*/blobs/{large.digest}", late, times=1)
        yield front


@pytest.fixture
def target(tmp_path: Path, docker_registry: StartRegistry) -> Iterator[Start]:
    """Starts a registry and its token server, which says of its tokens that they are good for so long."""
    stack: list[object] = []

    def start(announced: float) -> tuple[DockerRegistry, TokenServer]:
        giving = giving_tokens(tmp_path, PASSWORD, life=LIFE, announced=announced)
        tokens = giving.__enter__()
        stack.append(giving)
        return docker_registry(auth=tokens.auth), tokens

    yield start
    for giving in stack:
        giving.__exit__(None, None, None)  # type: ignore[attr-defined]


def mirror(registry: DockerRegistry, upstream: Front, capfd: pytest.CaptureFixture[str]) -> dict[str, int]:
    Path("isthmus.yaml").write_text(
        f"platform: {{architectures: [], registries: {{'{registry.address}': {{auth: 'env:TARGET_AUTH'}}}}}}\n"
    )
    ways = [f"--upstream={host}={upstream.url}/{host}" for host in HOSTS]
    capfd.readouterr()
    status = run(["mirror", "--to", f"{registry.address}/in", "--json", "-vv", *ways])
    shown = capfd.readouterr()
    assert status == 0, shown.out
    assert PASSWORD not in shown.out + shown.err
    document: dict[str, int] = json.loads(shown.out)
    return document


def answers(registry: DockerRegistry, method: str) -> list[int]:
    """The statuses that the registry says it gave to such requests."""
    log = (registry.storage.parent / "docker-registry.log").read_text()
    lines = [line for line in log.splitlines() if f'"{method} /v2/' in line]
    return [int(line.split(f'"{method} /v2/')[1].split('" ')[1].split()[0]) for line in lines]


def check_content(registry: DockerRegistry, manifests: dict[str, Manifest]) -> None:
    """Every blob is what its name says, all that is wanted is there, and the tags are right."""
    root = registry.storage / "docker/registry/v2"
    held = {path.parent.name: path for path in (root / "blobs/sha256").glob("*/*/data")}
    for name, path in held.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    for name in (WEB, SHARED):
        wanted = [manifests[name].digest, *(blob.digest for blob in manifests[name].blobs)]
        assert all(digest.hex in held for digest in wanted)
        repository, _, tag = name.rpartition(":")
        link = root / f"repositories/in/{repository}/_manifests/tags/{tag}/current/link"
        assert link.read_text() == manifests[name].digest


def test_a_token_that_ends_is_renewed_before_the_bytes_go(
    manifests: dict[str, Manifest], upstream: Front, target: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    registry, tokens = target(LIFE)
    document = mirror(registry, upstream, capfd)
    check_content(registry, manifests)
    large = max(layer.size for layer in manifests[WEB].layers)
    assert large < document["bytes"] < large * 1.1
    assert 401 not in answers(registry, "PUT")
    assert len(set(tokens.granted)) > 2


def test_an_upload_whose_token_ended_sooner_than_announced_is_repeated_with_a_fresh_one(
    manifests: dict[str, Manifest], upstream: Front, target: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    registry, tokens = target(300.0)
    document = mirror(registry, upstream, capfd)
    check_content(registry, manifests)
    assert 401 in answers(registry, "PUT")
    assert len(set(tokens.granted)) > 2
    assert document["blobs"] == len({blob.digest for name in (WEB, SHARED) for blob in manifests[name].blobs})
    again = mirror(registry, upstream, capfd)
    assert (again["blobs"], again["bytes"]) == (0, 0)
