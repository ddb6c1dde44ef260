"""What is damaged or lost within the parity is rebuilt byte for byte; beyond it, exactly what is lost is named."""

import io
import itertools
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.bundle import (
    KeyPaths,
    load_private_key,
    load_public_key,
    open_volume,
    pack,
    pack_again,
    pack_stream,
    plan_bundle,
    unpack,
    unpack_stream,
    verify,
)
from isthmus.bundle.galois import coefficient, inverse, inverted, multiply, spaced, times
from isthmus.bundle.layout import RECORD_HEADER_SIZE, Kind
from isthmus.bundle.manifest import canonical, decode_manifest
from isthmus.bundle.parity import Geometry, geometry_of
from isthmus.errors import IncompleteError, IsthmusError, UsageError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything, fill, tree

SHARED = [HealthCheck.function_scoped_fixture]


class Protected(Bundle):
    """A bundle with parity, and where its shards and cells are in its files."""

    def __init__(self, place: Path, volume_size: int | None, percent: float, key: Path) -> None:
        self.source, self.out = place / "source", place / "out"
        with Store.create(self.source) as store:
            fill(store)
            self.tree = tree(self.source)
            self.plan = plan_bundle(store, volume_size=volume_size, parity=percent)
            self.result = pack(self.plan, store, self.out, load_private_key(key))
        self.volumes = [self.out / volume.file for volume in self.result.volumes]
        found = geometry_of(self.plan.manifest)
        assert found is not None
        self.geometry: Geometry = found
        self.data = found.parity.volumes

    def payload_at(self, volume: int, position: int) -> int:
        """Where in its file a byte of a volume's payloads is."""
        for record in open_volume(self.volumes[volume - 1]).records():
            if record.placed.segment is None:
                continue
            if position < record.placed.length:
                return record.placed.position + RECORD_HEADER_SIZE + position
            position -= record.placed.length
        raise AssertionError

    def byte_of(self, stripe: int, symbol: int, within: int) -> tuple[int, int]:
        """Volume and place of a byte of a data shard or, behind those, a parity cell."""
        geometry = self.geometry
        if symbol < len(geometry.columns):
            volume, first = geometry.columns[symbol]
            start = (first + stripe) * geometry.parity.shard
            size = min(geometry.parity.shard, geometry.payload_size(volume) - start)
            return volume, self.payload_at(volume, start + within % size)
        volume, start = geometry.cell_place(stripe, symbol - len(geometry.columns))
        return volume, self.payload_at(volume, start + within % geometry.cell_size)


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Protected:
    return Protected(tmp_path_factory.mktemp("protected"), 100_000, 40, keys.private)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Protected:
    return Protected(tmp_path_factory.mktemp("single"), None, 10, keys.private)


def copied(bundle: Bundle, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(place.with_name("site"), ignore_errors=True)
    shutil.rmtree(place.with_name("site.incoming"), ignore_errors=True)
    shutil.copytree(bundle.out, place)
    return place


def test_an_undamaged_bundle_needs_no_parity(protected: Protected, keys: KeyPaths, tmp_path: Path) -> None:
    public = [load_public_key(keys.public)]
    found = verify([protected.out], public)
    assert (found.complete, found.repairable, found.damaged) == (True, False, ())
    assert unpack([protected.out], tmp_path / "site", public).rebuilt == 0
    assert tree(tmp_path / "site") == protected.tree
    found = verify(protected.volumes[: protected.data], public)
    assert (found.complete, found.error()) == (True, None)
    assert len(found.missing) == len(protected.volumes) - protected.data
    unpack(protected.volumes[: protected.data], tmp_path / "other", public)
    assert tree(tmp_path / "other") == protected.tree


@settings(max_examples=20, deadline=None, suppress_health_check=SHARED)
@given(data=st.data())
def test_any_damage_within_parity(
    protected: Protected, single: Protected, tmp_path: Path, data: st.DataObject
) -> None:
    bundle = data.draw(st.sampled_from([protected, single]))
    media = copied(bundle, tmp_path / "media")
    parity = bundle.geometry.parity
    symbols = len(bundle.geometry.columns) + parity.rows
    for stripe in range(parity.stripes):
        bad = data.draw(st.sets(st.integers(0, symbols - 1), min_size=1, max_size=parity.rows), label="symbols")
        for symbol in bad:
            if symbol < len(bundle.geometry.columns) and not list(bundle.geometry.pieces(stripe, symbol)):
                continue  # beyond the end of its volume: zeros that are nowhere
            volume, place = bundle.byte_of(stripe, symbol, data.draw(st.integers(0, 5000)))
            path = media / bundle.volumes[volume - 1].name
            with open(path, "r+b") as file:
                file.seek(place)
                (byte,) = file.read(1)
                file.seek(place)
                file.write(bytes([byte ^ data.draw(st.integers(1, 255))]))
    found = verify([media])
    assert found.complete or found.repairable
    unpack([media], tmp_path / "site")
    assert tree(tmp_path / "site") == bundle.tree


def test_any_volumes_within_parity_may_be_lost(protected: Protected, tmp_path: Path) -> None:
    """Every pair and every triple of volumes, data and parity mixed."""
    names = [path.name for path in protected.volumes]
    columns, rows = protected.geometry.columns, protected.geometry.parity.rows
    chance = random.Random(1)
    choices = [c for n in (1, 2, 3) for c in itertools.combinations(range(1, len(names) + 1), n)]
    for lost in chance.sample(choices, 15):
        gone = sum(column.volume in lost for column in columns)
        left = rows - sum(protected.geometry.rows_in(n)[1] for n in lost if n > protected.data)
        files = [protected.out / name for number, name in enumerate(names, 1) if number not in lost]
        found = verify(files)
        site = tmp_path / "-".join(map(str, lost))
        if gone <= left:
            assert found.repairable or not gone
            result = unpack(files, site)
            assert (tree(site), result.rebuilt > 0) == (protected.tree, gone > 0)
        else:
            assert not found.repairable
            with pytest.raises(IncompleteError) as error:
                unpack(files, site)
            assert {item["volume"] for item in error.value.items} == {n for n in lost if n <= protected.data}
            assert not site.exists()


def test_one_at_a_time_in_any_order(protected: Protected, tmp_path: Path) -> None:
    """Parity is kept until it is needed; as soon as enough is there, no more discs are asked for."""
    order = list(protected.volumes)
    for seed in range(2):
        random.Random(seed).shuffle(order)
        done = 0
        site = tmp_path / f"site{seed}"
        for path in order:
            done += 1
            try:
                unpack([path], site)
                break
            except IncompleteError:
                assert not site.exists()
        assert tree(site) == protected.tree
        assert done < len(order)
        assert not site.with_name(f"{site.name}.incoming").exists()


def test_parity_through_a_pipe(protected: Protected, keys: KeyPaths, tmp_path: Path) -> None:
    out = io.BytesIO()
    with Store.open(protected.source) as store:
        pack_stream(protected.plan, store, out, load_private_key(keys.private))
    volumes = [path.read_bytes() for path in protected.volumes]
    assert out.getvalue() == b"".join(volumes)
    result = unpack_stream(io.BytesIO(b"".join(volumes[1:])), tmp_path / "site")
    assert (tree(tmp_path / "site"), result.rebuilt > 0) == (protected.tree, True)


@pytest.mark.parametrize("place", [0, 300, 1100, 1600, -10, -300])
@pytest.mark.parametrize("rename", [False, True])
def test_a_bad_sector_anywhere_in_a_single_volume(
    single: Protected, tmp_path: Path, place: int, rename: bool
) -> None:
    """Also where header, manifest, index or footer are."""
    media = copied(single, tmp_path / "media")
    path = media / single.volumes[0].name
    data = bytearray(path.read_bytes())
    start = place if place >= 0 else len(data) + place
    start -= start % 512
    data[start : start + 512] = os.urandom(len(data[start : start + 512]))
    path.write_bytes(data)
    if rename and place >= 0:
        path = path.rename(media / "recovered.isv")
        (media / "manifest.json").unlink()
    assert verify([media]).repairable
    unpack([media], tmp_path / "site")
    assert tree(tmp_path / "site") == single.tree


def test_beyond_parity_exactly_what_is_lost_is_named(single: Protected, tmp_path: Path) -> None:
    media = copied(single, tmp_path / "media")
    path = media / single.volumes[0].name
    last = open_volume(path)
    *_, record = (r for r in last.records() if r.placed.segment and r.placed.length > 100_000)
    assert record.placed.segment is not None
    data = bytearray(path.read_bytes())
    start = record.placed.position + RECORD_HEADER_SIZE
    data[start + 10 : start + 90_000] = bytes(89_990)
    path.write_bytes(data)
    found = verify([media])
    affected = single.plan.manifest.affected([record.placed.segment.blob])
    assert (found.repairable, found.references) == (False, affected)
    with pytest.raises(VerificationError) as error:
        unpack([media], tmp_path / "site")
    assert tuple(error.value.items[0]["references"]) == affected
    assert not (tmp_path / "site").exists()


def test_parity_does_not_excuse_a_bad_signature(
    protected: Protected, keys: KeyPaths, other_keys: KeyPaths, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError) as error:
        unpack([protected.out], tmp_path / "site", [load_public_key(other_keys.public)])
    assert error.value.code == "bad-signature"
    assert not verify([protected.out], [load_public_key(other_keys.public)]).repairable
    assert everything(tmp_path / "site") == {}


def test_same_bytes_again_and_after_a_kill(protected: Protected, keys: KeyPaths, tmp_path: Path) -> None:
    key = load_private_key(keys.private)
    media = copied(protected, tmp_path / "media")
    lost = media / protected.volumes[-1].name
    sound = lost.read_bytes()
    with Store.open(protected.source) as store:
        lost.rename(lost.with_name(lost.name + ".partial"))
        os.truncate(lost.with_name(lost.name + ".partial"), len(sound) // 2)
        assert pack(protected.plan, store, media, key) == protected.result
        assert lost.read_bytes() == sound
        lost.unlink()
        pack_again(protected.plan, len(protected.volumes), store, media, key)
        assert lost.read_bytes() == sound


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_arithmetic(data: st.DataObject) -> None:
    a, b, c = (data.draw(st.integers(1, 255)) for _ in range(3))
    assert times(a, inverse(a)) == 1
    assert times(a, b ^ c) == times(a, b) ^ times(a, c)
    assert times(times(a, b), c) == times(a, times(b, c))
    assert times(0x80, 2) == 0x1D
    columns, rows = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 15))
    matrix = [[coefficient(row, column, columns) for column in range(columns)] for row in range(rows)]
    shards = [memoryview(bytearray(random.Random(n).randbytes(1000))) for n in range(columns)]
    assert multiply(matrix, shards) == multiply(matrix, shards, library=False)
    size = min(columns, rows)
    chosen = data.draw(st.permutations(range(columns)))[:size]
    part = [[matrix[row][column] for column in chosen] for row in range(size)]
    product = [[0] * size for _ in range(size)]
    for i, j, k in itertools.product(range(size), repeat=3):
        product[i][j] ^= times(part[i][k], inverted_once(part)[k][j])
    assert product == [[int(i == j) for j in range(size)] for i in range(size)]


@pytest.mark.parametrize("length", [1, 16_383, 16_384, 16_385, 50_000])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 13])
def test_the_library_and_python_give_the_same_bytes(length: int, rows: int) -> None:
    columns, chance = 9, random.Random(length)
    matrix = [[coefficient(row, column, columns) for column in range(columns)] for row in range(rows)]
    shards = spaced(columns, length)
    for shard in shards:
        shard[:] = chance.randbytes(length)
    assert multiply(matrix, shards) == multiply(matrix, shards, library=False)


def inverted_once(part: list[list[int]], known: dict[str, list[list[int]]] = {}) -> list[list[int]]:  # noqa: B006
    key = str(part)
    if key not in known:
        known.clear()
        known[key] = inverted(part)
    return known[key]


def test_too_many_volumes_and_wrong_shares(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        fill(store)
        for percent in (-1, 101, float("nan")):
            with pytest.raises(UsageError):
                plan_bundle(store, parity=percent)
        assert plan_bundle(store, parity=100).size > 2 * plan_bundle(store).size - 60_000


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 1},
        {"rows": 255},
        {"shard": 1},
        {"stripes": 2**31 - 1},
        {"stripes": 7},
        {"volumes": 1},
        {"volumes": 256},
        {"code": "other"},
    ],
)
def test_a_manifest_whose_parity_contradicts_itself_is_refused(
    protected: Protected, change: dict[str, object]
) -> None:
    import msgspec

    assert decode_manifest(protected.plan.raw) == protected.plan.manifest
    document = msgspec.to_builtins(protected.plan.manifest, enc_hook=str)
    document["parity"].update(change)
    with pytest.raises(IsthmusError):
        decode_manifest(canonical(document))
    assert Kind.PARITY in {record.kind for record in protected.plan.manifest.volumes[-1].records}
