"""What an update from the first generation of the images to the second carries, beside what is really new."""

from collections.abc import Sequence
from pathlib import Path

from bench.images import BuiltImage
from bench.report import Table
from isthmus.bundle import BundleReference, held_by_all, make_receipt, pack, plan_bundle, read_receipt, unpack
from isthmus.store import Store, StoredReference

MAX_OVER = 0.01
"""The most that an update may carry beside the new blobs, as a share of them."""


def update_table(built: Sequence[BuiltImage], place: Path) -> tuple[Table, list[str]]:
    """Carry the first generation in, then the second with a receipt; the row, and what is over the limit."""
    first = [image for image in built if image.generation == "v1"]
    later = [image for image in built if image.generation != "v1"]
    updated = {image.name for image in later}
    second = [*(image for image in first if image.name not in updated), *later]
    place.mkdir()
    with Store.open(built[0].layout) as store:
        known = {held.name: held for held in store.references()}
        whole = pack(plan_bundle(store, _wanted(known, first)), store, place / "first")
        unpack([place / "first"], place / "site")
        with Store.open(place / "site") as site:
            (place / "receipt").write_bytes(make_receipt(site))
            before = dict(site.iter_blobs())
        since = held_by_all([read_receipt(place / "receipt").blobs])
        packed = pack(plan_bundle(store, _wanted(known, second), since=since), store, place / "second")
    unpack([place / "second"], place / "site")
    with Store.open(place / "site") as site:
        new = sum(size for digest, size in site.iter_blobs() if digest not in before)
    over = packed.bytes / new - 1
    row = [f"{value / 1e6:.3f}" for value in (whole.bytes, packed.full_bytes, new, packed.bytes)]
    heads = ("update", "first MB", "second MB", "new blobs MB", "carried MB", "over")
    notes = [f"limit: {MAX_OVER:.0%} over the new blobs: {'kept' if over < MAX_OVER else 'NOT kept'}"]
    table = Table("an update, by receipt", heads, [("v1 → v2", *row, f"{over:.4%}")], notes)
    failures = [] if over < MAX_OVER else [f"an update carries {over:.2%} more than what is new"]
    return table, failures


def _wanted(known: dict[str, StoredReference], images: Sequence[BuiltImage]) -> list[BundleReference]:
    return [BundleReference(name, known[name].descriptor) for name in (image.ref for image in images)]
