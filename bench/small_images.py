"""2,000 images of ten layers of 10 KiB, registry → registry: what each request costs, not what bytes cost.

The images are made of random bytes, the same ones in every run. Not here: how tools are run (`between`).
"""

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from bench import between, peers, registry
from bench.compare import missed, table
from bench.contenders import OURS
from bench.images import BuiltImage
from bench.measure import Cost, take_turns
from bench.options import Options
from bench.registry import Upstream
from bench.report import MIB, Report
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, parse_manifest
from isthmus.oci.descriptor import OCI_MANIFEST
from isthmus.registry import ConnectionOptions, connect
from isthmus.store import Store, StoredReference
from isthmus.transfer import push

IMAGES, LAYERS, SIZE = 2000, 10, 10 * 1024
SMALL = 40
"""So many times fewer images with --small."""
MAX_RSS = 200 * MIB
GOALS = {"2,000 small images": {"wall": 0.50}}


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    count = IMAGES // SMALL if options.mode == "small" else IMAGES
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place:
        work = Path(place)
        for directory in ("home", "targets"):
            (work / directory).mkdir()
        options.say(f"making {count} images")
        built = _make(work / "store", count)
        with registry.running(work / "upstream") as upstream:
            _fill(work / "store", upstream)
            between.make_lock(work, upstream, built)
            ground = between.Ground(work, built, upstream, work / "store", None, ("docker-registry",))
            rounds = {
                tool: _round(ground, copy)
                for tool, (copy, _) in between.ways(ground).items()
                if tool == OURS or not options.peers or tool in options.peers
            }
            costs = take_turns(rounds, options.runs, options.say)
    ours = max(cost.peak_rss for by_tool in costs.values() for cost in by_tool[OURS])
    return Report(
        name="small_images",
        settings={"images": count, "layers": LAYERS, "runs": options.runs, "max_rss": MAX_RSS},
        versions={name: peers.version(name) for name in [*rounds, "docker-registry"] if name != OURS},
        costs=costs,
        tables=[table(name, by_tool, GOALS[name]) for name, by_tool in costs.items()],
        missed=missed(costs, GOALS),
        failures=[f"peak memory {ours / MIB:.0f} MiB is over {MAX_RSS / MIB:.0f} MiB"] if ours > MAX_RSS else [],
    )


def _make(path: Path, count: int) -> list[BuiltImage]:
    made = random.Random(7)  # the same bytes in every run
    built, names = [], []
    with Store.create(path) as store:
        for number in range(count):
            name = f"docker.io/small/image-{number}"
            config = _put(store, name, b'{"architecture":"amd64","os":"linux","n":%d}' % number, "config.v1+json")
            layers = [_put(store, name, made.randbytes(SIZE), "layer.v1.tar") for _ in range(LAYERS)]
            document = {
                "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers,
            }  # fmt: skip
            manifest = parse_manifest(msgspec.json.encode(document, enc_hook=str))
            store.put_manifest(name, manifest)
            names.append(StoredReference(name=f"{name}:1", descriptor=manifest.descriptor()))
            built.append(
                BuiltImage(
                    name=name, tag="1", layout=path, ref=f"{name}:1", digest=manifest.digest, size=SIZE * LAYERS,
                    generation="v1", media_type=OCI_MANIFEST, by_digest=False, static=False,
                )
            )  # fmt: skip
        store.set_references(names)
    return built


def _put(store: Store, name: str, data: bytes, kind: str) -> Descriptor:
    blob = Descriptor(f"application/vnd.oci.image.{kind}", Digest.of(data), len(data))
    with store.write_blob(name, blob) as writer:
        writer.write(memoryview(data)[writer.offset :])
        writer.commit()
    return blob


def _fill(path: Path, upstream: Upstream) -> None:
    with Store.open(path) as store, connect(upstream.address, ConnectionOptions()) as target:
        push(store, target, MirrorMap(prefix=""), jobs=8)


def _round(ground: between.Ground, copy: between.Copy) -> Callable[[], Mapping[str, Cost]]:
    (scenario,) = GOALS

    def contend() -> Mapping[str, Cost]:
        with between.Target(ground) as target:
            before, read_before = target.served(), ground.upstream.served()
            cost = copy(ground.built, target)
            facts = dict(target.served().since(before))
            upstream = ground.upstream.served().since(read_before)
            facts["requests"] += upstream["requests"]
            facts["bytes_read"] = upstream["bytes_read"]
            between.check(ground, _some(ground.built), target)
        return {scenario: replace(cost, facts=facts)}

    return contend


def _some(built: Sequence[BuiltImage]) -> Sequence[BuiltImage]:
    return built[:: max(1, len(built) // 50)]
