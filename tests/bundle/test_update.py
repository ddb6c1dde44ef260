"""An update carries what the site lacks, and is refused where the site does not have the rest."""

import hashlib
import random
from pathlib import Path

import msgspec
import pytest

from isthmus.bundle import held_by_all, make_receipt, pack, plan_bundle, read_receipt, unpack, verify
from isthmus.bundle.baseline import runs_of
from isthmus.bundle.manifest import canonical, decode_manifest
from isthmus.errors import VerificationError
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything, put_image, tree

NAME = "a.example/app"


class Update:
    """Two versions of an image that share a layer; the site has the first, and the update the second."""

    def __init__(self, place: Path) -> None:
        chance = random.Random(5)
        base, old, self.new = (chance.randbytes(1_000_000) for _ in range(3))
        self.site, self.out, source = place / "site", place / "update", place / "source"
        with Store.create(source) as store:
            put_image(store, NAME, "1", [base, old])
            pack(plan_bundle(store, volume_size=300_000), store, place / "first")
        unpack([place / "first"], self.site)
        with Store.open(self.site) as held:
            (place / "receipt").write_bytes(make_receipt(held))
        with Store.open(source) as store:
            self.manifest = put_image(store, NAME, "2", [base, self.new])
            since = held_by_all([read_receipt(place / "receipt").blobs])
            self.plan = plan_bundle(store, volume_size=300_000, since=since)
            self.result = pack(self.plan, store, self.out)
        self.source = source
        self.base = self.site / "blobs" / "sha256" / hashlib.sha256(base).hexdigest()


@pytest.fixture
def update(tmp_path: Path) -> Update:
    return Update(tmp_path)


def test_carries_what_is_new_and_hardly_more(update: Update) -> None:
    unique = len(update.new) + len(update.manifest.raw) + 100
    assert unique < update.result.bytes < 1.02 * unique + 5 * len(update.plan.raw)
    assert update.result.blobs == 3
    assert update.result.deltas == 4
    assert update.result.full_bytes > 3_000_000
    assert verify([update.out]).complete
    unpack([update.out], update.site)
    assert tree(update.site) == tree(update.source)


def test_overhead_of_an_update_is_below_a_hundredth(update: Update) -> None:
    with Store.open(update.source) as store:
        new = hashlib.sha256(update.new).hexdigest()
        held = held_by_all([[blob for blob in update.plan.manifest.blobs if blob.digest.hex != new]])
        plan = plan_bundle(store, since=held)
    assert len(update.new) < plan.size < 1.01 * len(update.new)


def test_nothing_new_is_a_bundle_of_nothing(update: Update, tmp_path: Path) -> None:
    unpack([update.out], update.site)
    with Store.open(update.source) as store:
        plan = plan_bundle(store, since=held_by_all([update.plan.manifest.blobs]))
        result = pack(plan, store, tmp_path / "none")
    assert (result.blobs, result.deltas, len(result.volumes)) == (0, 7, 1)
    assert unpack([tmp_path / "none"], update.site).reused == 7


@pytest.mark.parametrize("how", ["gone", "short", "damaged"])
def test_a_baseline_that_is_not_there_is_listed(update: Update, how: str) -> None:
    data = update.base.read_bytes()
    update.base.chmod(0o644)
    if how == "gone":
        update.base.unlink()
    else:
        update.base.write_bytes(data[:-1] if how == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    before = everything(update.site)
    with pytest.raises(VerificationError) as error:
        unpack([update.out], update.site)
    assert error.value.code == "baseline-missing"
    assert [item["digest"] for item in error.value.items] == [f"sha256:{update.base.name}"]
    assert everything(update.site) == before
    update.base.write_bytes(data)
    unpack([update.out], update.site)
    assert tree(update.site) == tree(update.source)


def test_what_is_carried_and_was_there_before_is_not_believed_either(update: Update, tmp_path: Path) -> None:
    data = update.base.read_bytes()
    update.base.chmod(0o644)
    update.base.write_bytes(bytes(len(data)))
    with pytest.raises(VerificationError) as error:
        unpack([tmp_path / "first"], update.site)
    assert (error.value.code, error.value.items) == ("damaged-store", (f"sha256:{update.base.name}",))
    update.base.unlink()
    unpack([tmp_path / "first"], update.site)
    assert update.base.read_bytes() == data


def test_a_site_without_a_store_has_no_baseline(update: Update, tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as error:
        unpack([update.out], tmp_path / "other")
    assert len(error.value.items) == 4
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "other.incoming").exists()


def test_several_sites_share_their_intersection(update: Update) -> None:
    a, b, c = update.plan.manifest.blobs[:3]
    assert held_by_all([[a, b], [b, c]]).blobs == {b}
    assert held_by_all([[a], [c]]).blobs == set()
    first, second = held_by_all([[a, b]]), held_by_all([[b, a]])
    assert first.baseline([a]).digests == second.baseline([a, b]).digests


def test_runs() -> None:
    assert runs_of([1, 2, 3, 7, 9, 10]) == ((1, 3), (7, 1), (9, 2))
    assert runs_of([]) == ()


def test_a_manifest_whose_baseline_contradicts_itself_is_refused(signed: Bundle, update: Update) -> None:
    good = update.plan.manifest
    assert decode_manifest(update.plan.raw) == good
    assert good.baseline is not None
    count = len(good.blobs)
    for held in (((0, count),), ((count, 1),), ((0, 2**31 - 1),), (), ((3, 1), (0, 1)), ((0, 1), (0, 1))):
        document = msgspec.to_builtins(good, enc_hook=str)
        document["baseline"]["held"] = held
        with pytest.raises(VerificationError):
            decode_manifest(canonical(document))
    without = msgspec.structs.replace(good, requires=())
    with pytest.raises(VerificationError):
        decode_manifest(canonical(without))
