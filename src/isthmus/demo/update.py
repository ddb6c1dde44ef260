"""The demo's last step: a month later only what is new crosses."""

from isthmus.bundle import held_by_all, load_public_key, make_receipt, read_receipt, unpack
from isthmus.bundle.keys import generate_keys, load_private_key
from isthmus.check import check_store
from isthmus.demo import platform
from isthmus.demo.outside import pack_lock, refresh_lock
from isthmus.demo.world import World, megabytes
from isthmus.errors import IncompleteError
from isthmus.store import Store


def update_site(world: World) -> str:
    """The publisher has a newer database: carry it alone, by the site's receipt, while the site serves."""
    own = generate_keys(world.inside / "keys", "site")
    receipt = world.outside / "site.receipt"
    with Store.open(world.inside / "store") as store:
        receipt.write_bytes(make_receipt(store, load_private_key(own.private)))
    platform.publish(world.directory / "published", edition=2)
    world.start_upstream()
    changed = refresh_lock(world)
    held = read_receipt(receipt, [load_public_key(own.public)]).blobs
    out = world.outside / "update"
    _, packed = pack_lock(world, out, sequence=2, since=held_by_all([held]))
    unpack([out], world.inside / "store", [world.key()])
    with Store.open(world.inside / "store") as store:
        if lacks := check_store(world.lock.references, store).missing:
            raise IncompleteError("missing-content", "the update did not arrive", items=lacks)
    whole = sum(volume.size for volume in world.packed.volumes) if world.packed else 0
    size = sum(volume.size for volume in packed.volumes)
    names = ", ".join(name.rpartition("/")[2] for name in changed if "/" in name)
    return f"newer: {names}; {megabytes(size)} carried instead of {megabytes(whole)}, by a signed receipt"
