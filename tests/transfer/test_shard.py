"""One copy split by digests: no blob twice, and nothing visible before everything is there."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import IncompleteError, UsageError
from isthmus.oci import Digest, Manifest
from isthmus.store import Store
from isthmus.transfer import FINISH, CopyItem, CopyResult, RegistrySurvey, Shard, copy
from tests.transfer.images import API, SHARED, WEB, fill
from tests.transfer.strict import StrictRegistry


class World:
    def __init__(self, store: Store, manifests: dict[str, Manifest]) -> None:
        self.store = store
        self.items = [
            CopyItem(
                name=name,
                source=store,
                source_repository=name.rpartition(":")[0],
                sink_repository=name.rpartition(":")[0],
                digest=manifests[name].digest,
                tags=(name.rpartition(":")[2],),
            )
            for name in (WEB, API, SHARED)
        ]

    def run(self, sink: StrictRegistry, shard: Shard) -> CopyResult:
        return copy(self.items, sink, survey=RegistrySurvey(sink), shard=shard)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    manifests = fill(tmp_path / "source")
    with Store.open(tmp_path / "source") as store:
        yield World(store, manifests)


def tags(sink: StrictRegistry) -> list[str]:
    return [target for _, target in sink.manifests if ":" not in target]


@given(st.binary(), st.integers(1, 9))
def test_every_blob_is_of_one_shard(content: bytes, count: int) -> None:
    digest = Digest.of(content)
    assert sum(Shard(index, count).has(digest) for index in range(count)) == 1
    assert not FINISH.has(digest)


@pytest.mark.parametrize(("text", "shard"), [("0/3", Shard(0, 3)), ("3/3", Shard(0, 3)), ("1/3", Shard(1, 3))])
def test_counted_from_0_or_from_1(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "4/3", "-1/3", "1/0", "1/5000", "a/b", "1/2/3", "1/99999999999999", "²/3"]
)
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert caught.value.code == "wrong-usage"


def test_the_last_shard_puts_manifests_and_tags(world: World) -> None:
    sink = StrictRegistry()
    results = []
    for index in range(3):
        assert tags(sink) == []
        results.append(world.run(sink, Shard(index, 3)))
    assert [result.finished for result in results] == [False, False, True]
    assert sorted(tags(sink)) == ["1", "2", "3"]
    assert set(sink.written.values()) == {1}
    assert sum(result.blobs for result in results) == len(sink.written)


def test_shards_at_the_same_time_move_nothing_twice(world: World) -> None:
    sink = StrictRegistry()
    results: list[CopyResult] = []
    threads = [
        threading.Thread(target=lambda n=index: results.append(world.run(sink, Shard(n, 4)))) for index in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert any(result.finished for result in results)
    assert set(sink.written.values()) == {1}
    assert sorted(tags(sink)) == ["1", "2", "3"]


def test_the_finishing_pass_lists_what_is_missing_and_then_finishes(world: World) -> None:
    sink = StrictRegistry()
    done = world.run(sink, Shard(0, 2))
    with pytest.raises(IncompleteError) as caught:
        world.run(sink, FINISH)
    assert caught.value.status == 3
    missing = {str(item).partition("@")[2] for item in caught.value.items}
    assert missing
    assert not missing & {str(digest) for digest in sink.written}
    assert tags(sink) == []
    other = world.run(sink, Shard(1, 2))
    assert {Digest(digest) for digest in missing} <= set(sink.written)
    assert (done.finished, other.finished) == (False, True)
    sink.manifests.clear()
    final = world.run(sink, FINISH)
    assert (final.blobs, final.finished) == (0, True)
    assert sorted(tags(sink)) == ["1", "2", "3"]


def test_a_run_without_shards_finishes_as_well(world: World) -> None:
    sink = StrictRegistry()
    world.run(sink, Shard(0, 2))
    written = set(sink.written)
    result = world.run(sink, Shard())
    assert result.finished
    assert sorted(tags(sink)) == ["1", "2", "3"]
    assert all(sink.written[digest] == 1 for digest in written)
