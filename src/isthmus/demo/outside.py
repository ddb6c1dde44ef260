"""The demo's steps outside, where the Internet is: what stands for it, scan, lock, pull, pack, approve."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from isthmus.bundle import (
    BundlePlan,
    BundleReference,
    Held,
    PackResult,
    generate_keys,
    load_private_key,
    pack,
    plan_bundle,
)
from isthmus.bundle.approval import FILE, add_approval, approve, subject_of
from isthmus.bundle.companions import for_operator
from isthmus.bundle.medium import write_file
from isthmus.bundle.tool import CarriedTool, Target, carry_tool
from isthmus.content.derived import derive
from isthmus.content.pull import pull_things
from isthmus.content.resolve import Workshop, aged, resolve_things, with_checked
from isthmus.demo import platform
from isthmus.demo.world import World, megabytes
from isthmus.errors import IncompleteError, UnreachableError
from isthmus.inventory.config_file import load_config
from isthmus.inventory.lock import Lock, LockEntry, read_lock, write_lock
from isthmus.inventory.model import Ref
from isthmus.inventory.settle import additions_by_name, settle, to_lock
from isthmus.oci import Descriptor
from isthmus.report import Asked, make_release
from isthmus.report.checking import check_release
from isthmus.report.items import Evidence
from isthmus.report.release import DOCUMENT, SIGNATURE
from isthmus.scan.run import scan
from isthmus.scan.source import SourceSpec
from isthmus.store import Store
from isthmus.transfer import pull, resolve

VOLUME_SIZE = 4_000_000
PARITY = 30.0
"""Per cent: one whole volume of the few may be lost."""


def start_upstream(world: World) -> str:
    """Build images from files of this machine, publish files and a chart, and serve them by their hosts' names."""
    with Store.create(world.directory / "upstream") as store:
        manifests = platform.fill_upstream(store)
        held = len(store.references())
    files = platform.publish(world.directory / "published", edition=1)
    (world.directory / "platform.yaml").write_text(manifests, encoding="utf-8")
    (world.directory / "isthmus.yaml").write_text(platform.CONFIG, encoding="utf-8")
    world.start_upstream()
    return f"{held} images and artifacts, {files} files served at {world.upstream} and {world.published}"


def scan_platform(world: World) -> str:
    """Find what the manifests ask for; isthmus.yaml adds what only operators know."""
    world.config = load_config(world.directory / "isthmus.yaml")
    found = scan([SourceSpec.parse(f"manifests:{world.directory / 'platform.yaml'}")])
    world.inventory = settle(found, world.config.platform, "isthmus.yaml", world.config.site)
    if world.inventory.unresolved:
        raise IncompleteError(
            "unresolved", "the demo's own manifests did not resolve", items=world.inventory.unresolved
        )
    world.facts["found"] = len(world.inventory.references)
    added = len(world.inventory.references) - len(found.references)
    return f"{world.facts['found']} references: {len(found.references)} in the manifests, {added} in isthmus.yaml"


def lock_platform(world: World) -> str:
    """Resolve tags and addresses to digests, signatures included."""
    world.outside.mkdir(exist_ok=True)
    world.lock = _locked(world, to_lock(world.inventory).references, Lock())
    signatures = sum(len(entry.referrers) for entry in world.lock.references)
    return f"{len(world.lock.references)} locked to digests, {signatures} signature found"


def pull_store(world: World) -> str:
    """Bring everything into the outside's store."""
    blobs, count = _pull(world, world.lock.references)
    return f"{blobs} blobs, {megabytes(count)}, each once"


def pack_bundle(world: World) -> str:
    """Write small signed volumes, and beside them the release document for whoever approves them."""
    keys = generate_keys(world.outside / "keys")
    world.inside.mkdir()
    (world.inside / "isthmus.pub").write_bytes(keys.public.read_bytes())
    plan, world.packed = pack_lock(world, world.bundle, sequence=1)
    parity = plan.manifest.parity
    assert parity is not None
    world.data_volumes = parity.volumes
    world.facts["carried"] = world.packed.blobs
    count = len(world.packed.volumes)
    tool = "Isthmus itself; " if "bootstrap.py" in plan.files else ""
    spare = count - world.data_volumes
    return (
        f"{count} signed volumes of at most {megabytes(VOLUME_SIZE)}, {spare} of them parity; {tool}release.html"
    )


def approve_bundle(world: World) -> str:
    """Another person looks at what crosses, and signs."""
    officer = generate_keys(world.outside / "officer", "officer")
    (world.inside / "officer.pub").write_bytes(officer.public.read_bytes())
    subject = subject_of(world.bundle)
    for line in check_release(subject.document, subject.manifest, [world.key()]):
        raise AssertionError(line)
    add_approval(world.bundle / FILE, approve(subject, load_private_key(officer.private), "the demo's officer"))
    assert subject.release is not None
    return f"release.json {subject.release[:12]}… compared with the bundle, and signed by {world.key('officer')}"


def pack_lock(world: World, out: Path, sequence: int, since: Held | None = None) -> tuple[BundlePlan, PackResult]:
    """A bundle of what the lock names, without what the site holds, and its release document."""
    key = load_private_key(world.outside / "keys" / "isthmus.key")
    with Store.open(world.outside / "store") as store:
        references = [_carried(store, entry) for entry in world.lock.references]
        tool = _tool(store)
        companions = for_operator(tool.bootstrap, tool.version) if tool else for_operator()
        first = (tool.reference,) if tool else ()
        plan = plan_bundle(
            store, references, VOLUME_SIZE, "demo", since, PARITY, sequence, first=first, companions=companions
        )
        packed = pack(plan, store, out, key)
        evidence: Evidence = {(entry.kind, entry.stored_name): entry.evidence for entry in world.lock.references}
        _, files = make_release(plan, store, Asked(evidence=evidence, keys=(str(key.public),), mode="carried"))
    files[SIGNATURE] = key.sign(files[DOCUMENT]).value
    for name, data in files.items():
        write_file(out / name, [memoryview(data)])
    return plan, packed


def refresh_lock(world: World) -> tuple[str, ...]:
    """Resolve and pull again what becomes stale; the names of what is new."""
    before = {entry.key: entry for entry in world.lock.references}
    wanted = [Ref(entry.kind, entry.name) for entry in world.lock.references if entry.max_age]
    fresh = _locked(world, wanted, world.lock, renew=True).references
    both = before | {entry.key: entry for entry in fresh}
    world.lock = Lock(references=tuple(both[key] for key in sorted(both)))
    write_lock(world.outside / "isthmus.lock", world.lock)
    _pull(world, fresh)
    return tuple(entry.name for entry in fresh if before[entry.key].digest != entry.digest)


def _locked(world: World, wanted: Sequence[Ref], old: Lock, *, renew: bool = False) -> Lock:
    known = additions_by_name(world.config.platform)
    path = world.outside / "isthmus.lock"
    with Store.create(world.outside / "store") as store, world.upstreams() as registries, world.web() as web:
        images = resolve(wanted, registries)
        shop = Workshop(store, web, world.outside / "cache", known, old)
        things = resolve_things(wanted, shop)
        errors = [failure.error for failure in images.failures] + [failure.error for failure in things.failures]
        for error in errors:
            raise error
        entries = with_checked(
            (*aged(images.entries, known, old, lambda _: ""), *things.entries), old, renew=renew
        )
        entries = (*entries, *derive(store, web, entries, world.config))
    write_lock(path, Lock(references=tuple(sorted(entries, key=lambda entry: entry.key))))
    return read_lock(path)


def _pull(world: World, entries: Sequence[LockEntry]) -> tuple[int, int]:
    with Store.create(world.outside / "store") as store, world.upstreams() as registries, world.web() as web:
        images = pull([entry for entry in entries if entry.in_registry], store, registries)
        things = pull_things(entries, store, web)
    return images.blobs + things.blobs, images.bytes + things.bytes


def _tool(store: Store) -> CarriedTool | None:
    """Isthmus itself, where a `pack` of this directory fetched its wheels: the demo needs no Internet."""
    here = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", os.uname().machine)
    try:
        return carry_tool(store, [here], Path(".isthmus") / "cache" / "tool", fetch=False)
    except UnreachableError:
        return None


def _carried(store: Store, entry: LockEntry) -> BundleReference:
    size = store.blob_size(entry.digest) or 0
    return BundleReference(entry.stored_name, Descriptor(entry.media_type, entry.digest, size), entry.kind)
