"""A plan of 10,000 images and a million blobs against a simulated registry: seconds and peak memory.

Simulated means: manifests are made up when they are asked for, and the target holds nothing and keeps nothing.
No byte of a blob moves; what is measured is what Isthmus itself needs to know what to do. The plan is made in
a process of its own, `python -m bench.scale [--images N] [--layers N]`, whose memory is then the plan's.
"""

# ruff: noqa: ARG002 -- sources and sinks are given more than these need
import argparse
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bench.contenders import OURS
from bench.measure import run as run_command
from bench.options import Options
from bench.report import MIB, Report, Table
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.content import BlobReader
from isthmus.oci.descriptor import OCI_MANIFEST
from isthmus.transfer import CopyItem, RegistrySurvey
from isthmus.transfer.fetch import Fetcher
from isthmus.transfer.pool import StopFlag
from isthmus.transfer.reshape import as_it_is
from isthmus.transfer.run import Run
from isthmus.transfer.shelf import Shelf
from isthmus.transfer.tree import everything

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
IMAGES, LAYERS = 10_000, 100
SMALL = 10
"""So many times fewer images with --small."""
MAX_SECONDS = 30.0
MAX_RSS = 500 * MIB


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    images = IMAGES // SMALL if options.mode == "small" else IMAGES
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place:
        log = Path(place) / "plan.json"
        words = [sys.executable, "-m", "bench.scale", "--images", str(images), "--layers", str(LAYERS)]
        environment = {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
        cost = run_command(words, cwd=root, env=environment, log=log)
        facts: dict[str, float] = json.loads(log.read_text())
    row = [f"{facts['blobs']:.0f}", f"{facts['plan_seconds']:.1f} s", f"{facts['plan_cpu']:.1f} s"]
    row.append(f"{cost.peak_rss / MIB:.0f} MiB")
    return Report(
        name="scale",
        settings={"images": images, "blobs of an image": LAYERS, "max_seconds": MAX_SECONDS, "max_rss": MAX_RSS},
        versions={},
        costs={"plan": {OURS: [replace(cost, facts=facts)]}},
        tables=[Table(f"a plan of {images} images, simulated", ("blobs", "wall", "CPU", "peak memory"), [row])],
        failures=["the plan needs too much memory"] if cost.peak_rss > MAX_RSS else [],
        missed=["the plan takes too long"] if facts["plan_seconds"] > MAX_SECONDS else [],
    )


class MadeUp:
    """A source whose images have layers of their own, made from their number."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._numbers: dict[str, int] = {}

    def raw(self, number: int) -> bytes:
        """The manifest of image number so-and-so, always the same."""

        def part(kind: str, index: int) -> dict[str, object]:
            digest = hashlib.sha256(b"%d/%d" % (number, index)).hexdigest()
            return {
                "mediaType": kind,
                "digest": f"sha256:{digest}",
                "size": 1000 + (number * 7919 + index) % 100_000,
            }

        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": part(CONFIG, 0),
                "layers": [part(LAYER, index) for index in range(1, self._layers)],
            }
        ).encode()

    def digest(self, number: int) -> Digest:
        """The digest of an image; after this it can be asked for."""
        digest = Digest.of(self.raw(number))
        self._numbers[digest] = number
        return digest

    def manifest(self, repository: str, target: str) -> Manifest:
        return parse_manifest(self.raw(self._numbers[target]))

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> BlobReader:
        raise NotImplementedError

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        return ()


class Void:
    """A registry that has nothing."""

    def manifest_digest(self, repository: str, target: str) -> Descriptor | None:
        return None

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        return False


def measure(images: int, layers: int, jobs: int = 4) -> dict[str, float]:
    """Plan, work out every route, and say what it took; making manifests up is not counted."""
    source = MadeUp(layers)
    digests = [source.digest(number) for number in range(images)]
    making_up = _clock()
    for number in range(images):
        source.raw(number)
    making_up = _since(making_up)
    items = [
        CopyItem(
            name=f"registry.example/team{number % 100}/image{number}:1",
            source=source,
            source_repository=f"team{number % 100}/image{number}",
            sink_repository=f"mirror/registry.example/team{number % 100}/image{number}",
            digest=digest,
            tags=("1",),
        )
        for number, digest in enumerate(digests)
    ]
    started = _clock()
    with closing(Shelf()) as shelf:
        steps = Run(items, None, jobs, StopFlag(), shelf, RegistrySurvey(Void()))  # type: ignore[arg-type]
        _, blobs = steps.plan(Fetcher(lambda _: None, shelf, everything), as_it_is)
        for place in range(len(blobs)):
            blobs.route(place)
    wall, cpu = _since(started)
    return {
        "images": images,
        "blobs": len(blobs),
        "plan_seconds": round(wall - making_up[0], 2),
        "plan_cpu": round(cpu - making_up[1], 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _clock() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _since(start: tuple[float, float]) -> tuple[float, float]:
    now = _clock()
    return now[0] - start[0], now[1] - start[1]


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--layers", type=int, default=LAYERS, help="blobs of an image, its config included")
    chosen = parser.parse_args(words)
    print(json.dumps(measure(chosen.images, chosen.layers)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
