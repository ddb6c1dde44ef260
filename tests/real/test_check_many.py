"""5,000 references against a registry of others: one request each, and each way in which one can be wrong."""

import re
import time
from pathlib import Path

import pytest

from bench.check import fill
from isthmus.check import check
from isthmus.inventory.mapping import MirrorMap
from isthmus.registry import ConnectionOptions, connect
from tests.real import docker_registry
from tests.real.programs import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def test_five_thousand_references_cost_one_request_each_and_every_fault_is_found(tmp_path: Path) -> None:
    require("docker-registry")
    storage = tmp_path / "registry/storage"
    lock = fill(storage, 50, 100)
    registry = docker_registry.start(tmp_path / "registry")
    options = ConnectionOptions(max_connections=16)
    log = tmp_path / "registry/docker-registry.log"
    try:
        with connect(registry.address, options) as asked:
            before = len(_requests(log))
            started = time.monotonic()
            result = check(lock, asked, MirrorMap(), 16)
            seconds = time.monotonic() - started
            requests = len(_requests(log)) - before
        assert result.is_complete
        assert result.present == len(lock) == 5000
        assert requests <= len(lock) + 1
        assert seconds < 30  # the benchmark has the goal of 10; other tests run beside this one

        root = storage / "docker/registry/v2"
        gone, lied, moved, layer = lock[10], lock[20], lock[30], lock[40]
        manifests = root / f"repositories/mirror/{gone.name.partition(':')[0]}/_manifests"
        (manifests / "tags/v10/current/link").unlink()
        (manifests / f"revisions/sha256/{gone.digest.hex}/link").unlink()
        _data(root, lied.digest.hex).write_bytes(_data(root, moved.digest.hex).read_bytes())
        (manifests / "tags/v30/current/link").write_text(str(layer.digest))
        with connect(registry.address, options) as asked:
            result = check(lock, asked, MirrorMap(), 16)
        assert result.present == 4997
        assert {finding.name: finding.why for finding in result.missing}.keys() == {gone.name, lied.name}
        assert [finding.name for finding in result.stale] == [moved.name]
    finally:
        registry.stop()


def _data(root: Path, digest: str) -> Path:
    return root / f"blobs/sha256/{digest[:2]}/{digest}/data"


def _requests(log: Path) -> list[str]:
    """The lines of its access log; the last one may come a moment late."""
    time.sleep(0.2)
    return re.findall(r'"(?:GET|HEAD) /v2/[^"]*" \d+', log.read_text(errors="replace"))
