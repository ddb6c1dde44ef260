"""Parity: how fast it is made, with the wheel's ISA-L and in Python alone, from a store on disk.

Data is counted, not parity; what is made is hashed, so that both must be the same bytes. The goal is 500 MB of
data a second with the wheel.
"""

import hashlib
import os
import resource
import tempfile
import time
from pathlib import Path

from bench.measure import Cost, Costs, MeasureError
from bench.options import Options
from bench.report import Report, Table
from isthmus.bundle import plan_bundle
from isthmus.bundle.encoding import parity_payload
from isthmus.bundle.fitting import BundlePlan
from isthmus.oci import Descriptor, Digest, parse_manifest
from isthmus.store import Store

GOAL = 500e6
PERCENT = 10
LAYER = 64_000_000
SMALL = 8_000_000
"""Python alone is measured on this much: it takes seconds for what ISA-L does in milliseconds."""


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    costs: Costs = {}
    rows, missed, digests = [], [], {}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place:
        for name, size, library in (
            ("ISA-L", min(options.size, 1_000_000_000), True),
            ("ISA-L, small", SMALL, True),
            ("Python, small", SMALL, False),
        ):
            options.say(f"{name}: {size / 1e6:.0f} MB")
            work = Path(place) / str(size)
            with Store.open(work) if work.exists() else _filled(work, size) as store:
                plan = plan_bundle(store, parity=PERCENT)
                runs = [_measured(plan, store, library=library) for _ in range(options.runs)]
            costs[name] = {"isthmus": [cost for cost, _ in runs]}
            digests[name] = {digest for _, digest in runs}
            wall, cpu = min(cost.wall for cost, _ in runs), min(cost.cpu for cost, _ in runs)
            rows.append((name, f"{size / 1e6:.0f}", f"{size / wall / 1e6:.0f}", f"{size / cpu / 1e6:.0f}"))
            if name == "ISA-L" and size / wall < GOAL:
                missed.append(f"parity with ISA-L: {size / wall / 1e6:.0f} MB/s, the goal is {GOAL / 1e6:.0f}")
    if len(digests["ISA-L, small"] | digests["Python, small"]) != 1:
        raise MeasureError("ISA-L and Python do not make the same parity")
    table = Table(f"Parity of {PERCENT} %, best of {options.runs}", ("with", "MB", "MB/s", "MB/s of CPU"), rows)
    return Report("parity", {"percent": PERCENT}, {}, costs, [table], missed=missed)


def _filled(place: Path, size: int) -> Store:
    store = Store.create(place)
    layers = []
    for start in range(0, size, LAYER):
        data = os.urandom(min(LAYER, size - start))
        layers.append(_put(store, data, "application/vnd.oci.image.layer.v1.tar"))
    config = _put(store, b"{}", "application/vnd.oci.image.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    }
    store.put_manifest("bench.example/parity", parse_manifest(_json(manifest)), "1")
    return store


def _put(store: Store, data: bytes, media_type: str) -> dict[str, object]:
    blob = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    with store.write_blob("bench.example/parity", blob) as writer:
        writer.write(memoryview(data))
        writer.commit()
    return {"mediaType": media_type, "digest": str(blob.digest), "size": blob.size}


def _json(document: dict[str, object]) -> bytes:
    import msgspec

    return msgspec.json.encode(document)


def _measured(plan: BundlePlan, store: Store, *, library: bool) -> tuple[Cost, str]:
    digest, record = hashlib.sha256(), plan.manifest.volumes[-1].records[0]
    started, before = time.perf_counter(), os.times()
    for piece in parity_payload(plan.manifest, record, store, library=library):
        digest.update(piece)
    wall, after = time.perf_counter() - started, os.times()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(wall, after.user - before.user, after.system - before.system, peak), digest.hexdigest()
