"""Any set of blobs, any volume size, any order: what arrives is what left."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle import plan_bundle, unpack, verify
from isthmus.bundle.fitting import split
from isthmus.bundle.layout import FOOTER_SIZE, HEADER_SIZE, RECORD_COST
from isthmus.bundle.manifest import Blob, canonical, decode_manifest
from isthmus.bundle.packing import pack
from isthmus.errors import IncompleteError
from isthmus.oci import Digest
from isthmus.store import Store
from tests.bundle.conftest import Bundle, put_image, tree

sizes = st.one_of(st.integers(0, 3), st.integers(0, 2_000), st.integers(0, 300_000))
images = st.lists(st.lists(sizes, min_size=1, max_size=4), min_size=1, max_size=4)


def make_store(path: Path, layers: Sequence[Sequence[int]]) -> None:
    with Store.create(path) as store:
        for number, image in enumerate(layers):
            contents = [
                bytes([size % 251, place]) * (size // 2) + b"x" * (size % 2) for place, size in enumerate(image)
            ]
            put_image(store, f"a.example/image/{number}", "1", contents)


@settings(max_examples=40, deadline=None)
@given(layers=images, room=st.integers(0, 60_000), data=st.data())
def test_any_blobs_any_sizes_any_order(layers: list[list[int]], room: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        make_store(place / "source", layers)
        with Store.open(place / "source") as store:
            raw_size = len(plan_bundle(store).raw)
            plan = plan_bundle(store, volume_size=64 * 1024 + 8 * raw_size + room)
            assert decode_manifest(plan.raw) == plan.manifest
            result = pack(plan, store, place / "out")
        files = [place / "out" / volume.file for volume in result.volumes]
        for path, volume in zip(files, plan.manifest.volumes, strict=True):
            assert path.stat().st_size == volume.size <= (plan.manifest.volume_size or 0)
        for volume, following in itertools.pairwise(plan.manifest.volumes):
            assert volume.size > (plan.manifest.volume_size or 0) - RECORD_COST - 1
            if following.records[0].offset:
                assert volume.size == plan.manifest.volume_size
        assert verify(files).complete
        # Nothing is lacking where only empty blobs are in the volumes that are not here yet.
        needed = [
            path
            for path, volume in zip(files, plan.manifest.volumes, strict=True)
            if any(record.length for record in volume.records)
        ]
        order = data.draw(st.permutations(needed))
        for path in order[:-1]:
            with pytest.raises(IncompleteError):
                unpack([path], place / "site")
            assert not (place / "site").exists()
        unpack([order[-1]], place / "site")
        assert tree(place / "site") == tree(place / "source")


def test_every_order_of_a_spanning_blob(tmp_path: Path) -> None:
    make_store(tmp_path / "source", [[400_000]])
    with Store.open(tmp_path / "source") as store:
        result = pack(plan_bundle(store, volume_size=110_000), store, tmp_path / "out")
    assert len(result.volumes) == 4
    for number, order in enumerate(itertools.permutations(tmp_path / "out" / v.file for v in result.volumes)):
        for path in order[:-1]:
            with pytest.raises(IncompleteError):
                unpack([path], tmp_path / f"site{number}")
        unpack([order[-1]], tmp_path / f"site{number}")
        assert tree(tmp_path / f"site{number}") == tree(tmp_path / "source")


@settings(max_examples=300, deadline=None)
@given(sizes=st.lists(st.integers(0, 5_000), max_size=30), capacity=st.integers(300, 4_000))
def test_volumes_are_filled(sizes: list[int], capacity: int) -> None:
    blobs = [Blob(Digest(f"sha256:{number:064x}"), size) for number, size in enumerate(sizes)]
    volumes = split(blobs, capacity + HEADER_SIZE + FOOTER_SIZE + RECORD_COST, 0)
    reached = [0] * len(blobs)
    for volume in volumes:
        used = sum(RECORD_COST + record.length for record in volume)
        assert used <= capacity
        if volume is not volumes[-1]:
            assert used >= capacity - RECORD_COST
        for record in volume:
            assert record.offset == reached[record.blob]
            reached[record.blob] += record.length
    assert reached == sizes


def test_an_unchanged_plan_is_the_same_bytes(signed: Bundle) -> None:
    with Store.open(signed.source) as store:
        assert plan_bundle(store, volume_size=100_000).raw == signed.plan.raw == canonical(signed.plan.manifest)
