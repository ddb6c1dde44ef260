"""`push` and `mirror` of one large blob, killed with SIGKILL in its middle: what was taken is not sent again.

Into Distribution 3 and into `isthmus serve`, behind a relay that counts bytes. Distribution 2.8 gives a session
up that broke off within a PATCH, so that there only the end is tested.
"""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.demo.images import filler, make_layer, name_it, put_image
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Manifest
from isthmus.registry import connect
from isthmus.serve import serving
from isthmus.serve.options import Listen
from isthmus.store import Store
from tests.real import docker_registry as registries
from tests.real.conftest import StartRegistry
from tests.real.test_transfer_v3 import program  # noqa: F401  # a fixture

SIZE = 300_000_000
ROOM = 16 * 1024 * 1024
"""Bytes that may be on their way when the client is killed, in sockets and in the relay."""
NAME = "quay.io/large/image:1"
ISTHMUS = [sys.executable, "-m", "isthmus"]

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Relay:
    """Passes bytes on to the registry, counts those that go there, and can go slowly."""

    def __init__(self, behind: str) -> None:
        host, _, port = behind.rpartition(":")
        self.sent = 0
        self.pause = 0.0
        self._behind = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._behind) as registry:
            while True:
                ready, _, _ = select.select([client, registry], [], [])
                for one, other in ((client, registry), (registry, client)):
                    if one not in ready:
                        continue
                    try:
                        data = one.recv(256 * 1024)
                        other.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    if one is client:
                        self.sent += len(data)
                        time.sleep(self.pause)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)


@contextmanager
def relay_to(address: str) -> Iterator[Relay]:
    relay = Relay(address)
    try:
        yield relay
    finally:
        relay.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    path = tmp_path_factory.mktemp("large") / "store"
    with Store.create(path) as store:
        manifest = put_image(store, "quay.io/large/image", [make_layer({"large": filler("large", SIZE)})])
        name_it(store, NAME, manifest)
    return path, manifest


@pytest.fixture(params=["push", "mirror"])
def words(request: pytest.FixtureRequest, built: tuple[Path, Manifest], tmp_path: Path) -> Iterator[list[str]]:
    store, manifest = built
    if request.param == "push":
        yield ["push", "--store", str(store)]
        return
    write_lock(tmp_path / "isthmus.lock", Lock(references=(LockEntry("image", NAME, manifest.digest),)))
    with serving(store, MirrorMap(prefix="")) as address:
        yield ["mirror", "--upstream", f"quay.io=http://{address}/quay.io"]


def kill_in_the_middle(command: list[str], place: Path, relay: Relay) -> None:
    """Run, and kill once about a third has come through."""
    relay.pause = 0.002
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while relay.sent < SIZE // 3 and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    relay.pause = 0.0
    before = -1
    while before != relay.sent:  # what was under way comes to its end
        before = relay.sent
        time.sleep(0.2)


def run_again(command: list[str], place: Path) -> int:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    moved: int = json.loads(done.stdout)["bytes"]
    return moved


def assert_there(address: str, manifest: Manifest) -> None:
    with connect(address) as check:
        found = check.manifest("mirror/quay.io/large/image", "1")
        assert found.raw == manifest.raw
        assert all(check.has_blob("mirror/quay.io/large/image", blob) for blob in manifest.blobs)


@pytest.fixture(params=["3", "serve"])
def resuming(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a registry that goes on within a chunk."""
    if request.param == "serve":
        Store.create(tmp_path / "target").close()
        with serving(tmp_path / "target", MirrorMap(prefix=""), Listen(writable=True)) as address:
            yield address
        return
    registry = registries.start(tmp_path / "third", program=request.getfixturevalue("program"))
    yield registry.address
    registry.stop()


def test_only_what_was_missing_is_sent_after_a_kill(
    resuming: str, words: list[str], built: tuple[Path, Manifest], tmp_path: Path
) -> None:
    total = sum(blob.size for blob in built[1].blobs)
    with relay_to(resuming) as relay:
        command = [*ISTHMUS, *words, "--to", relay.address, "--json"]
        kill_in_the_middle(command, tmp_path, relay)
        state = next(tmp_path.rglob("state.sqlite"))
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        first, relay.sent = relay.sent, 0
        moved = run_again(command, tmp_path)
        assert relay.sent < total - first + ROOM
        assert moved <= relay.sent
        relay.sent = 0
        assert run_again(command, tmp_path) == 0
        assert relay.sent < 10_000
    assert_there(resuming, built[1])


def test_distribution_2_completes_after_a_kill(
    docker_registry: StartRegistry, words: list[str], built: tuple[Path, Manifest], tmp_path: Path
) -> None:
    registry = docker_registry()
    with relay_to(registry.address) as relay:
        command = [*ISTHMUS, *words, "--to", relay.address, "--json"]
        kill_in_the_middle(command, tmp_path, relay)
        assert run_again(command, tmp_path) <= sum(blob.size for blob in built[1].blobs)
    assert_there(registry.address, built[1])
