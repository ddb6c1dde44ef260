"""5,000 references in Debian's docker-registry, asked for by `isthmus check`: the time, and the requests.

The registry's storage is written as it would write it itself: 50 repositories of 100 tags, each a manifest of its
own, all of one config and one layer. Not here: `check --deep`, which reads everything and costs what reading does.
"""

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.measure import Cost, Spread, take_turns
from bench.measure import run as cost_of
from bench.options import Options
from bench.registry import Upstream
from bench.report import Report, Table
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Digest
from tests.real import docker_registry

REPOSITORIES, TAGS = 50, 100
SECONDS = 10.0
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def run(options: Options) -> Report:
    """Measure `check` in turns; a limit is the time, another the number of requests."""
    repositories = 5 if options.mode == "small" else REPOSITORIES
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-check-") as name:
        place = Path(name)
        entries = fill(place / "registry/storage", repositories, TAGS)
        write_lock(place / "isthmus.lock", Lock(references=tuple(entries)))
        registry = docker_registry.start(place / "registry")
        try:
            upstream = Upstream(registry)
            command = [sys.executable, "-m", "isthmus", "check", "--registry", registry.address, "--json"]

            def isthmus() -> dict[str, Cost]:
                before = upstream.served()
                cost = cost_of([*command, "-q"], cwd=place)
                facts = upstream.served().since(before)
                return {"check": replace(cost, facts=facts)}

            costs = take_turns({"isthmus": isthmus}, options.runs, options.say)
        finally:
            registry.stop()
    ours = costs["check"]["isthmus"]
    failures = []
    if Spread.of([cost.wall for cost in ours]).median > SECONDS:
        failures.append(f"check took more than {SECONDS:.0f} s")
    if any(cost.facts["requests"] > len(entries) + 1 for cost in ours):  # and whether it is a registry
        failures.append("check asked more than once for a reference")
    rows = [[f"{cost.wall:.1f} s", f"{cost.cpu:.1f} s", f"{cost.facts['requests']:.0f}"] for cost in ours]
    return Report(
        name="check",
        settings={"references": len(entries), "runs": options.runs},
        versions={},
        costs=costs,
        tables=[Table("isthmus check", ["time", "CPU", "requests"], rows)],
        failures=failures,
    )


def fill(storage: Path, repositories: int, tags: int) -> list[LockEntry]:
    """Write the registry's storage; the entries of a lock that names everything in it."""
    root = storage / "docker/registry/v2"
    layer, config = b"layer of all", b'{"architecture":"amd64","os":"linux"}'
    entries = []
    for data in (layer, config):
        _blob(root, data)
    for number in range(repositories):
        repository = f"mirror/registry.example.com/group/app-{number}"
        place = root / "repositories" / repository
        for data in (layer, config):
            _link(place / f"_layers/sha256/{hashlib.sha256(data).hexdigest()}/link", data)
        for tag in range(tags):
            manifest = _manifest(layer, config, f"{number}.{tag}")
            _blob(root, manifest)
            digest = hashlib.sha256(manifest).hexdigest()
            _link(place / f"_manifests/revisions/sha256/{digest}/link", manifest)
            _link(place / f"_manifests/tags/v{tag}/current/link", manifest)
            _link(place / f"_manifests/tags/v{tag}/index/sha256/{digest}/link", manifest)
            name = f"registry.example.com/group/app-{number}:v{tag}"
            entries.append(LockEntry("image", name, Digest(f"sha256:{digest}"), MANIFEST, len(manifest)))
    return entries


def _manifest(layer: bytes, config: bytes, label: str) -> bytes:
    def described(data: bytes, kind: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(config, "config.v1+json"),
        "layers": [described(layer, "layer.v1.tar")],
        "annotations": {"label": label},
    }
    return json.dumps(document).encode()


def _blob(root: Path, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    path = root / f"blobs/sha256/{digest[:2]}/{digest}/data"
    os.makedirs(path.parent, exist_ok=True)
    path.write_bytes(data)


def _link(path: Path, data: bytes) -> None:
    os.makedirs(path.parent, exist_ok=True)
    path.write_text(f"sha256:{hashlib.sha256(data).hexdigest()}")
