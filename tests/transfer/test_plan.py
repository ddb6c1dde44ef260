"""The plan in arrays says the same as one in plain dictionaries; and manifests that are put away come back."""

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import scale
from isthmus.errors import IncompleteError
from isthmus.oci import Descriptor, Digest
from isthmus.store import Store
from isthmus.transfer.plan import BlobPlan, CopyItem, heights
from isthmus.transfer.shelf import Shelf
from isthmus.transfer.tree import Tree
from tests.transfer.images import API, fill

SOURCES = [scale.MadeUp(1), scale.MadeUp(1)]


def blob(number: int) -> Descriptor:
    algorithm = "sha512" if number % 5 == 0 else "sha256"
    return Descriptor("application/x", Digest.of(b"%d" % number, algorithm), number * 37 % 11)


def item(number: int) -> CopyItem:
    name = f"repository{number % 4}"
    return CopyItem(f"{name}:{number}", SOURCES[number % 2], f"from/{name}", name, blob(number).digest)


USES = st.lists(st.tuples(st.sets(st.integers(0, 12)), st.booleans()), max_size=8)


@given(USES, st.randoms())
def test_routes_are_those_of_a_plain_plan(uses: list[tuple[set[int], bool]], chance: object) -> None:
    items = [item(number) for number in range(len(uses))]
    plan = BlobPlan(items)
    order = list(range(len(uses)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    for number in order:
        blobs, whole = uses[number]
        plan.add(number, [blob(n) for n in sorted(blobs)], whole=whole)
    plan.close()
    unique = {n for blobs, _ in uses for n in blobs}
    wanted = sorted((blob(n) for n in unique), key=lambda b: (-b.size, bytes.fromhex(b.digest.hex)))
    routes = [plan.route(place) for place in range(len(plan))]
    assert [(route.blob.digest, route.blob.size) for route in routes] == [(b.digest, b.size) for b in wanted]
    for route in routes:
        users = [n for n, (blobs, _) in enumerate(uses) if route.blob.digest in {blob(b).digest for b in blobs}]
        holders = [items[n].sink_repository for n in users if uses[n][1]]
        needed = dict.fromkeys(items[n].sink_repository for n in users if not uses[n][1])
        assert route.holder == (holders[0] if holders else "")
        assert route.targets == tuple(name for name in needed if name not in holders)
        assert set(route.origins) == {(items[n].source, items[n].source_repository) for n in users}


def test_what_is_pointed_to_is_lower(tmp_path: Path) -> None:
    manifests = fill(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        api = manifests[API]
        children = tuple(store.manifest_by_digest(child.digest) for child in api.manifests)
        levels = dict(heights(Tree(api, (*children, api))))
    assert levels == {children[0].digest: 0, children[1].digest: 0, api.digest: 1}


def test_manifests_come_back_from_memory_and_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.transfer.shelf.IN_MEMORY", 10_000)
    source = scale.MadeUp(20)
    digests = [source.digest(number) for number in range(30)]
    with closing(Shelf()) as shelf:
        for digest in digests:
            shelf.put(source.manifest("", digest))
            shelf.put(source.manifest("", digest))
        for digest in reversed(digests):
            assert msgspec.structs.asdict(shelf.get(digest)) == msgspec.structs.asdict(source.manifest("", digest))
        with pytest.raises(IncompleteError):
            shelf.get(Digest.of(b"another"))


def test_the_simulated_plan_counts_every_blob() -> None:
    measured = scale.measure(50, 20)
    assert measured["blobs"] == 1000
