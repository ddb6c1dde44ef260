"""The steps of the demo: functions that take the `World`, do the real thing and say what came of it.

To add a step, write a function and put it into `STEPS`.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.bundle import (
    PackResult,
    PublicKey,
    generate_keys,
    load_private_key,
    load_public_key,
    make_receipt,
    pack,
    plan_bundle,
    unpack,
    verify,
)
from isthmus.check import check
from isthmus.demo import platform
from isthmus.demo.client import pull_by_original_name
from isthmus.errors import IncompleteError, VerificationError
from isthmus.inventory.lock import Lock, read_lock, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Inventory, Ref
from isthmus.oci import Reference
from isthmus.registry import ConnectionOptions, connect
from isthmus.scan.run import scan
from isthmus.scan.source import SourceSpec
from isthmus.serve import serving
from isthmus.site.containerd import configure_containerd
from isthmus.store import Store
from isthmus.transfer import Upstreams, pull, resolve

VOLUME_SIZE = 4_000_000
PARITY = 30.0
"""Per cent: one whole volume of the few may be lost."""


@dataclass
class World:
    """What the steps hand to each other. `resources` are closed when the demo ends."""

    directory: Path
    resources: ExitStack
    upstream: str = ""
    site: str = ""
    inventory: Inventory = field(default_factory=Inventory)
    lock: Lock = field(default_factory=Lock)
    packed: PackResult | None = None
    data_volumes: int = 0
    facts: dict[str, int] = field(default_factory=dict)

    @property
    def volumes(self) -> list[Path]:
        """The volumes of the bundle, in order."""
        assert self.packed is not None
        return [self.directory / "outside" / "bundle" / Path(volume.file).name for volume in self.packed.volumes]


@dataclass(frozen=True)
class Step:
    """A title for people and the function that does it."""

    title: str
    do: Callable[[World], str]


def start_upstream(world: World) -> str:
    """Build images from files of this machine and serve them as docker.io, quay.io and others."""
    where = world.directory / "upstream"
    with Store.create(where) as store:
        manifests = platform.fill_upstream(store)
        held = len(store.references())
    (world.directory / "platform.yaml").write_text(manifests, encoding="utf-8")
    world.upstream = world.resources.enter_context(serving(where, MirrorMap(prefix="")))
    return f"{held} images and artifacts built and served at {world.upstream}"


def scan_platform(world: World) -> str:
    """Find what the manifests ask for, and add what only operators know."""
    found = scan([SourceSpec.parse(f"manifests:{world.directory / 'platform.yaml'}")])
    known = Ref(kind="artifact", name=platform.ARTIFACT)
    world.inventory = Inventory(references=(*found.references, known), unresolved=found.unresolved)
    if found.unresolved:
        raise IncompleteError("unresolved", "the demo's own manifests did not resolve", items=found.unresolved)
    world.facts["found"] = len(world.inventory.references)
    return f"{world.facts['found']} references found in {world.directory / 'platform.yaml'}"


def lock_platform(world: World) -> str:
    """Resolve tags to digests, signatures included."""
    with _upstreams(world) as registries:
        resolution = resolve(world.inventory.references, registries)
    for failure in resolution.failures:
        raise failure.error
    path = world.directory / "outside" / "isthmus.lock"
    path.parent.mkdir(exist_ok=True)
    write_lock(path, Lock(references=resolution.entries))
    world.lock = read_lock(path)
    signatures = sum(len(entry.referrers) for entry in world.lock.references)
    return f"{len(world.lock.references)} locked to digests, {signatures} signature found, {_mb(resolution.bytes)}"


def pull_store(world: World) -> str:
    """Bring everything into the outside's store."""
    with Store.create(world.directory / "outside" / "store") as store, _upstreams(world) as registries:
        result = pull(world.lock.references, store, registries)
    return f"{result.blobs} blobs, {_mb(result.bytes)}, each once"


def pack_bundle(world: World) -> str:
    """Write small signed volumes."""
    keys = generate_keys(world.directory / "outside" / "keys")
    with Store.open(world.directory / "outside" / "store") as store:
        plan = plan_bundle(store, volume_size=VOLUME_SIZE, name="demo", parity=PARITY)
        world.packed = pack(plan, store, world.directory / "outside" / "bundle", load_private_key(keys.private))
    (world.directory / "inside").mkdir()
    (world.directory / "inside" / "isthmus.pub").write_bytes(keys.public.read_bytes())
    parity = plan.manifest.parity
    assert parity is not None
    world.data_volumes = parity.volumes
    world.facts["carried"] = world.packed.blobs
    count = len(world.packed.volumes)
    spare = count - world.data_volumes
    return f"{count} signed volumes of at most {_mb(VOLUME_SIZE)}, {spare} of them parity"


def refuse_damage(world: World) -> str:
    """Flip one bit and leave the parity away: it must be refused, and the store must not appear."""
    data_volumes = world.volumes[: world.data_volumes]
    victim = data_volumes[1]
    copy = world.directory / "inside" / victim.name
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    rest = [volume for volume in data_volumes if volume != victim]
    spoiled = world.directory / "inside" / "spoiled"
    try:
        unpack([*rest, copy], spoiled, [_public_key(world)])
    except VerificationError as error:
        if spoiled.exists():
            raise AssertionError("a damaged bundle changed the store") from error
        return f"one flipped bit in {victim.name}: refused ({error.code}), store untouched"
    finally:
        copy.unlink()
    raise AssertionError("a damaged volume was not noticed")


def unpack_site(world: World) -> str:
    """Inside: lose a volume, verify the rest, and bring it in in reverse order; parity makes up for the loss."""
    lost, *given = world.volumes
    found = verify(given, [_public_key(world)])
    if not found.repairable:
        raise AssertionError("the demo's bundle cannot make up for a lost volume")
    store = world.directory / "inside" / "store"
    result = unpack(list(reversed(given)), store, [_public_key(world)])
    with Store.open(store) as held:
        (world.directory / "inside" / "site.receipt").write_bytes(make_receipt(held))
    return f"{lost.name} lost, {result.rebuilt} parts rebuilt, {result.blobs} blobs unpacked, receipt written"


def serve_site(world: World) -> str:
    """Cut off the upstream, serve the site and write the nodes' configuration."""
    world.resources.close()
    world.site = world.resources.enter_context(serving(world.directory / "inside" / "store", MirrorMap()))
    references = [Reference.parse(entry.name) for entry in world.lock.references]
    out = world.directory / "inside" / "certs.d"
    files = configure_containerd(references, MirrorMap(), f"http://{world.site}", out)
    return f"upstream stopped; site registry at {world.site}, {len(files)} hosts.toml written"


def check_site(world: World) -> str:
    """Every reference of the lock is there by digest."""
    registry = connect(world.site, ConnectionOptions())
    try:
        result = check(world.lock.references, registry, MirrorMap())
    finally:
        registry.close()
    if result.missing or result.stale:
        raise IncompleteError(
            "missing-content", "the site is not complete", items=[*result.missing, *result.stale]
        )
    world.facts["served"] = result.present
    return f"{result.present} of {len(world.lock.references)} references present"


def pull_inside(world: World) -> str:
    """Pull everything by its original name, as a node would, and compare digests with the lock."""
    for entry in world.lock.references:
        pull_by_original_name(world.directory / "inside" / "certs.d", entry)
    world.facts["proved"] = len(world.lock.references)
    return f"{world.facts['proved']} pulled by their original names through hosts.toml, digest for digest"


STEPS: tuple[Step, ...] = (
    Step("Build an upstream", start_upstream),
    Step("scan", scan_platform),
    Step("lock", lock_platform),
    Step("pull", pull_store),
    Step("pack", pack_bundle),
    Step("Damage a volume", refuse_damage),
    Step("verify, unpack", unpack_site),
    Step("serve, configure", serve_site),
    Step("check", check_site),
    Step("Pull inside", pull_inside),
)


def _upstreams(world: World) -> Upstreams:
    substitutes = {host: f"http://{world.upstream}/{host}" for host in platform.HOSTS}
    return Upstreams(ConnectionOptions(), substitutes)


def _public_key(world: World) -> PublicKey:
    return load_public_key(world.directory / "inside" / "isthmus.pub")


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
