"""Ten thousand random fates of a bundle: any order of volumes, any losses, any flips of bytes, any names.

What is within the parity is byte-identical in the end; what is beyond it is refused with exactly what is lost.
What must happen is worked out here from the format alone. Each case follows from its number, which is in the
failure: `ISTHMUS_CASE=1234 pytest tests/bundle/test_many_cases.py` runs it alone. ISTHMUS_CASES sets how many.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from isthmus.bundle import open_volume, pack, plan_bundle, unpack, verify
from isthmus.bundle.layout import RECORD_HEADER_SIZE, Kind
from isthmus.bundle.parity import geometry_of
from isthmus.errors import IncompleteError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import put_image, tree

CASES = int(os.environ.get("ISTHMUS_CASES", "10000"))
BATCHES = 20
MEMORY = Path("/dev/shm")
SHAPES = [
    ([9_000, 0, 700], None, 10.0),
    ([30_000, 5_000, 5_000], None, 50.0),
    ([120_000, 40_000], 84_000, 40.0),
    ([60_000, 60_000, 60_000, 1], 76_000, 34.0),
    ([150_000, 3_000], 100_000, 100.0),
    ([40_000, 20_000], 200_000, 0.0),
]
OFTEN = [0, 1, 0, 5, 1, 2, 0, 1, 3, 4]


class Sample:
    """A bundle, and where each byte of each symbol of its code is."""

    def __init__(self, place: Path, number: int) -> None:
        layers, volume_size, percent = SHAPES[number]
        chance = random.Random(number)
        with Store.create(place / "source") as store:
            for image, size in enumerate(layers):
                put_image(store, f"a.example/{number}/{image}", "1", [chance.randbytes(size)])
            self.tree = tree(place / "source")
            self.manifest = plan_bundle(store, volume_size=volume_size, parity=percent).manifest
            plan = plan_bundle(store, volume_size=volume_size, parity=percent)
            result = pack(plan, store, place / "out")
        paths = [place / "out" / volume.file for volume in result.volumes]
        self.names = [path.name for path in paths]
        self.data = [path.read_bytes() for path in paths]
        self.geometry = geometry_of(self.manifest)
        self.rows = self.geometry.parity.rows if self.geometry else 0
        self.payloads: list[list[tuple[int, int]]] = []
        for path in paths:
            placed = [record.placed for record in open_volume(path).records()]
            self.payloads.append(
                [(p.position + RECORD_HEADER_SIZE, p.length) for p in placed if p.segment and p.length]
            )
        self.symbols = self._symbols() if self.geometry else {}

    def _symbols(self) -> dict[tuple[int, int], tuple[int, list[tuple[int, int]]]]:
        """(stripe, symbol) → volume and the places of its bytes there; data columns first, then rows."""
        geometry = self.geometry
        assert geometry
        found: dict[tuple[int, int], tuple[int, list[tuple[int, int]]]] = {}
        for stripe in range(geometry.parity.stripes):
            for column, (volume, first) in enumerate(geometry.columns):
                start = (first + stripe) * geometry.parity.shard
                end = min(start + geometry.parity.shard, geometry.payload_size(volume))
                if start < end:
                    found[stripe, column] = volume, self._spans(volume, start, end)
            for row in range(self.rows):
                volume, start = geometry.cell_place(stripe, row)
                place = self._spans(volume, start, start + geometry.cell_size)
                found[stripe, len(geometry.columns) + row] = volume, place
        return found

    def _spans(self, volume: int, start: int, end: int) -> list[tuple[int, int]]:
        spans, before = [], 0
        for position, length in self.payloads[volume - 1]:
            low, high = max(start, before), min(end, before + length)
            if low < high:
                spans.append((position + low - before, high - low))
            before += length
        return spans

    def structure(self, volume: int, chance: random.Random) -> int:
        """A byte of a volume that is no payload of a blob or of parity."""
        data = self.data[volume - 1]
        while True:
            place = chance.choice(
                [chance.randrange(len(data)), chance.randrange(1024), len(data) - 1 - chance.randrange(256)]
            )
            if not any(start <= place < start + length for start, length in self.payloads[volume - 1]):
                return place


@dataclass
class Fate:
    """What happens to a sample, and what must come of it."""

    lost: set[int] = field(default_factory=set)
    bad: set[tuple[int, int]] = field(default_factory=set)
    flips: list[tuple[int, int, int]] = field(default_factory=list)
    renamed: bool = False


def within(sample: Sample, chance: random.Random) -> Fate:
    """Losses and flips that the parity makes up for, and flips in whatever is no payload."""
    fate = Fate(renamed=chance.random() < 0.3)
    volumes = list(range(1, len(sample.data) + 1))
    if sample.rows:
        for volume in chance.sample(volumes, chance.randrange(len(volumes))):
            if len(fate.lost) + 1 < len(volumes) and worst(sample, fate.lost | {volume}, set()) <= sample.rows:
                fate.lost.add(volume)
        for stripe in range(sample.geometry.parity.stripes if sample.geometry else 0):
            there = [
                key for key, (volume, _) in sample.symbols.items() if key[0] == stripe and volume not in fate.lost
            ]
            room = sample.rows - count(sample, stripe, fate.lost, set())
            fate.bad |= set(chance.sample(there, chance.randint(0, min(room, len(there)))))
        # One volume must say what all of them hold; the others may be damaged anywhere but where they are known
        # by. Where a stripe has no cell left either, only the digests of blobs say that what follows is right.
        if not fate.renamed:
            given = [volume for volume in volumes if volume not in fate.lost]
            for volume in chance.sample(given, chance.randrange(len(given))):
                fate.flips += [(volume, sample.structure(volume, chance), 1 << chance.randrange(8))]
    spoil(sample, fate, chance)
    return fate


def too_few_volumes(sample: Sample, chance: random.Random) -> Fate | None:
    """Whole volumes lost, and more than the parity makes up for."""
    volumes = list(range(1, len(sample.data) + 1))
    if len(volumes) < 2:
        return None
    fate = Fate(
        lost=set(chance.sample(volumes, chance.randint(1, len(volumes) - 1))), renamed=chance.random() < 0.3
    )
    return fate if worst(sample, fate.lost, set()) > sample.rows and data_lost(sample, fate.lost) else None


def too_many_flips(sample: Sample, chance: random.Random) -> Fate | None:
    """Some stripes have more bad symbols than the parity makes up for."""
    if not sample.geometry:
        return None
    fate = Fate()
    stripes = range(sample.geometry.parity.stripes)
    for stripe in chance.sample(stripes, chance.randint(1, len(stripes))):
        there = [key for key in sample.symbols if key[0] == stripe]
        if len(there) > sample.rows:
            fate.bad |= set(chance.sample(there, chance.randint(sample.rows + 1, len(there))))
    spoil(sample, fate, chance)
    return fate if beyond(sample, fate) else None


def count(sample: Sample, stripe: int, lost: set[int], bad: set[tuple[int, int]]) -> int:
    """How many symbols of a stripe are not there or bad."""
    return sum(
        1 for key, (volume, _) in sample.symbols.items() if key[0] == stripe and (volume in lost or key in bad)
    )


def worst(sample: Sample, lost: set[int], bad: set[tuple[int, int]]) -> int:
    if not sample.geometry:
        return len(lost)
    return max(count(sample, stripe, lost, bad) for stripe in range(sample.geometry.parity.stripes))


def data_lost(sample: Sample, lost: set[int]) -> bool:
    return any(sample.manifest.affected_by_volume(volume) for volume in lost)


def beyond(sample: Sample, fate: Fate) -> bool:
    """Whether a data symbol is bad in a stripe that has more bad symbols than rows."""
    assert sample.geometry
    return any(
        symbol < len(sample.geometry.columns) and count(sample, stripe, set(), fate.bad) > sample.rows
        for stripe, symbol in fate.bad
    )


def flipped_blobs(sample: Sample, fate: Fate) -> set[int]:
    """The blobs of whose bytes in the volumes any is wrong."""
    return {
        record.blob
        for volume, place, _ in fate.flips
        for record, (start, length) in zip(
            [r for r in sample.manifest.volumes[volume - 1].records if r.length],
            sample.payloads[volume - 1],
            strict=True,
        )
        if record.kind == Kind.BLOB and start <= place < start + length
    }


def past_repair(sample: Sample, fate: Fate) -> Fate:
    """Those flips alone that are in data symbols of stripes with more bad symbols than rows."""
    assert sample.geometry
    bad = {
        key
        for key in fate.bad
        if key[1] < len(sample.geometry.columns) and count(sample, key[0], set(), fate.bad) > sample.rows
    }
    places = {
        (sample.symbols[key][0], place)
        for key in bad
        for start, length in sample.symbols[key][1]
        for place in range(start, start + length)
    }
    return Fate(flips=[flip for flip in fate.flips if flip[:2] in places])


def spoil(sample: Sample, fate: Fate, chance: random.Random) -> None:
    """One to three flips in each bad symbol, each in another byte."""
    for key in sorted(fate.bad):
        volume, spans = sample.symbols[key]
        places = [
            start + chance.randrange(length) for start, length in chance.choices(spans, k=chance.randint(1, 3))
        ]
        fate.flips += [(volume, place, chance.randint(1, 255)) for place in sorted(set(places))]


def laid_out(sample: Sample, fate: Fate, media: Path, chance: random.Random) -> list[Path]:
    """The files as they come out of the accident, in some order and under some names."""
    files = []
    for number, (name, data) in enumerate(zip(sample.names, sample.data, strict=True), 1):
        if number in fate.lost:
            continue
        changed = bytearray(data)
        for volume, place, mask in fate.flips:
            if volume == number:
                changed[place] ^= mask
        files.append(media / (f"disc-{chance.randrange(10**9)}.isv" if fate.renamed else name))
        files[-1].write_bytes(changed)
    chance.shuffle(files)
    return files


def run_case(number: int, place: Path) -> None:
    chance = random.Random(number)
    sample = samples()[OFTEN[number % len(OFTEN)]]
    kind = chance.random()
    fate = (
        too_few_volumes(sample, chance) if kind < 0.1 else too_many_flips(sample, chance) if kind < 0.2 else None
    )
    media, site = place / "media", place / "site"
    media.mkdir()
    if fate is None:
        files = laid_out(sample, within(sample, chance), media, chance)
        unpack(files, site)
        assert tree(site) == sample.tree
        return
    files = laid_out(sample, fate, media, chance)
    manifest = sample.manifest
    if fate.lost:
        with pytest.raises(IncompleteError) as missing:
            unpack(files, site)
        expected = {v: manifest.affected_by_volume(v) for v in fate.lost if manifest.affected_by_volume(v)}
        assert {item["volume"]: item["references"] for item in missing.value.items} == expected
    else:
        damaged_names = manifest.affected(flipped_blobs(sample, fate))
        expected_names = manifest.affected(flipped_blobs(sample, past_repair(sample, fate)))
        found = verify(files)
        assert (found.complete, found.repairable, found.references) == (False, False, damaged_names)
        assert found.lost == expected_names
        with pytest.raises(VerificationError) as damaged:
            unpack(files, site)
        assert {name for item in damaged.value.items for name in item["references"]} == set(expected_names)
    assert not site.exists()


@cache
def samples() -> list[Sample]:
    place = Path(tempfile.mkdtemp(prefix="isthmus-samples-"))
    try:
        return [Sample(place / str(number), number) for number in range(len(SHAPES))]
    finally:
        shutil.rmtree(place)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="isthmus-cases-", dir=MEMORY))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def one(number: int, workplace: Path) -> None:
    place = workplace / str(number)
    place.mkdir()
    try:
        run_case(number, place)
    except BaseException as error:
        error.add_note(f"ISTHMUS_CASE={number} repeats this case alone")
        raise
    shutil.rmtree(place)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_many_cases(batch: int, workplace: Path) -> None:
    if "ISTHMUS_CASE" in os.environ:
        pytest.skip("one case alone")
    for number in range(batch, CASES, BATCHES):
        one(number, workplace)


@pytest.mark.skipif("ISTHMUS_CASE" not in os.environ, reason="ISTHMUS_CASE names no case")
def test_one_case(workplace: Path) -> None:
    one(int(os.environ["ISTHMUS_CASE"]), workplace)
