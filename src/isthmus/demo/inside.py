"""The demo's steps inside: damage, unpack, certificates, serve, configure, check, and use what is there."""

from isthmus.bundle import unpack, verify
from isthmus.bundle.demands import Demands
from isthmus.check import check
from isthmus.check.files import check_files
from isthmus.content.freshness import ages
from isthmus.content.web import Web
from isthmus.demo.client import pull_by_original_name
from isthmus.demo.world import World
from isthmus.errors import IncompleteError, VerificationError
from isthmus.inventory.mapping import MirrorMap
from isthmus.registry import connect
from isthmus.serve import Listen, ServerThread
from isthmus.site.output import write_files
from isthmus.site.parts import configure_parts
from isthmus.site.pki.authority import Authority
from isthmus.site.pki.settings import settings_of
from isthmus.site.plan import Site
from isthmus.store import Store


def refuse_damage(world: World) -> str:
    """Flip one bit and leave the parity away: it must be refused, and the store must not appear."""
    data_volumes = world.volumes[: world.data_volumes]
    victim = data_volumes[1]
    copy = world.inside / victim.name
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    rest = [volume for volume in data_volumes if volume != victim]
    spoiled = world.inside / "spoiled"
    try:
        unpack([*rest, copy], spoiled, [world.key()])
    except VerificationError as error:
        if spoiled.exists():
            raise AssertionError("a damaged bundle changed the store") from error
        return f"one flipped bit in {victim.name}: refused ({error.code}), store untouched"
    finally:
        copy.unlink()
    raise AssertionError("a damaged volume was not noticed")


def unpack_site(world: World) -> str:
    """Lose a volume, ask for the officer's approval, and bring the rest in in reverse order; parity helps."""
    lost, *given = world.volumes
    if not verify(given, [world.key()]).repairable:
        raise AssertionError("the demo's bundle cannot make up for a lost volume")
    demands = Demands(approvers=(world.key("officer"),))
    result = unpack(list(reversed(given)), world.inside / "store", [world.key()], demands=demands)
    return f"approved; {lost.name} lost, {result.rebuilt} parts rebuilt, {result.blobs} blobs unpacked"


def serve_site(world: World) -> str:
    """Cut off the upstream, make the site's authority, and serve registry, files and console with TLS."""
    world.resources.close()
    authority = Authority(world.inside / "pki", settings_of(world.config.site))
    authority.create()
    place = authority.issue("site", [world.config.site.registry.host, "127.0.0.1"])
    listen = Listen(
        certificate=place / "tls.crt", key=place / "tls.key", files=("127.0.0.1", 0), ca=world.ca,
        lock=world.outside / "isthmus.lock",
    )  # fmt: skip
    server = ServerThread(world.inside / "store", MirrorMap(), listen)
    world.resources.callback(server.stop)
    world.site, world.files = server.address, server.files_address
    return f"upstream stopped; TLS by the site's own authority; console: https://{world.site}/console/"


def configure_site(world: World) -> str:
    """Write everything that the site has to be told."""
    ca = world.ca.read_bytes()
    site = Site(world.config, f"https://{world.site}", MirrorMap(), world.lock.references, ca=ca)
    parts = configure_parts(site)
    files = write_files((file for part in parts.values() for file in part.files), world.inside / "site")
    decisions = sum(len(part.decisions) for part in parts.values())
    written = sum(1 for part in parts.values() if part.files)
    return f"{len(files)} files of {written} parts for nodes, DNS, time, firewall…; {decisions} decisions open"


def check_site(world: World) -> str:
    """Every reference of the lock is there by digest, in the registry and on the file server."""
    registry = connect(world.site, world.trusting)
    try:
        result = check(world.lock.references, registry, MirrorMap())
    finally:
        registry.close()
    with Web(world.trusting) as web:
        files = check_files(world.lock.references, f"https://{world.files}", web)
    if lacks := [*result.missing, *result.stale, *files.missing]:
        raise IncompleteError("missing-content", "the site is not complete", items=lacks)
    world.facts["served"] = result.present
    return f"{result.present} of {len(world.lock.references)} references present, {files.present} of them as files"


def pull_inside(world: World) -> str:
    """Use everything as a node would: images by original names, the rest from the file server, bytes compared."""
    certs = world.inside / "site" / "containerd" / "certs.d"
    images = [entry for entry in world.lock.references if entry.in_registry]
    for entry in images:
        pull_by_original_name(certs, entry)
    with Web(world.trusting) as web:
        files = check_files(world.lock.references, f"https://{world.files}", web, rehash=True)
    if files.missing:
        raise IncompleteError("missing-content", "the file server gave other bytes", items=files.missing)
    world.facts["proved"] = len(images) + files.present
    return f"{len(images)} pulled by original names through hosts.toml, {files.present} files, digest for digest"


def tell_ages(world: World) -> str:
    """How old what becomes stale is."""
    with Store.open(world.inside / "store") as store:
        found = ages(store)
    names = ", ".join(age.name.rpartition("/")[2] for age in found)
    stale = sum(1 for age in found if age.stale)
    return f"{names}: {stale} of {len(found)} stale"
