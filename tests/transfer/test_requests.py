"""What a copy into a registry costs in requests, and in which order things appear there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.errors import UnreachableError, UsageError
from isthmus.oci import Manifest, Platform
from isthmus.store import Store
from isthmus.transfer import CopyItem, CopyResult, Memory, RegistrySurvey, copy
from isthmus.transfer.reshape import one_platform
from tests.transfer.images import API, SHARED, WEB, fill
from tests.transfer.strict import StrictRegistry


class Counting:
    """A store as a source that counts the manifests it is asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fetched: list[str] = []
        self.open_blob = store.open_blob
        self.referrers = store.referrers

    def manifest(self, repository: str, target: str) -> Manifest:
        self.fetched.append(target)
        return self.store.manifest(repository, target)


class World:
    def __init__(self, store: Store, manifests: dict[str, Manifest], state: Path) -> None:
        self.source = Counting(store)
        self.manifests = manifests
        self.state = state
        self.blobs = {b.digest for m in self.leaves() for b in m.blobs}

    def leaves(self) -> list[Manifest]:
        api = [self.source.store.manifest_by_digest(child.digest) for child in self.manifests[API].manifests]
        return [self.manifests[WEB], self.manifests[SHARED], self.manifests["signature"], *api]

    def items(self, *names: str, platforms: tuple[Platform, ...] = (), content: str = "") -> list[CopyItem]:
        return [
            CopyItem(
                name=name,
                source=self.source,
                source_repository=name.rpartition(":")[0],
                sink_repository=name.rpartition(":")[0],
                digest=self.manifests[name].digest,
                tags=(name.rpartition(":")[2],),
                platforms=platforms,
                referrers=(self.manifests["signature"].digest,) if name == WEB else (),
                content=content,
            )
            for name in names or (WEB, API, SHARED)
        ]

    def run(
        self,
        sink: StrictRegistry,
        items: list[CopyItem] | None = None,
        *,
        trust_for: float = 0.0,
        verify: bool = False,
    ) -> CopyResult:
        with Memory(self.state, "there") as memory:
            survey = RegistrySurvey(sink, memory, trust_for=trust_for, verify=verify)
            return copy(items or self.items(), sink, survey=survey)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    manifests = fill(tmp_path / "source")
    with Store.open(tmp_path / "source") as store:
        yield World(store, manifests, tmp_path / "state" / "state.sqlite")


def test_an_empty_target_costs_a_request_a_tag_and_what_must_be_written(world: World) -> None:
    sink = StrictRegistry()
    result = world.run(sink)
    pairs = sum(len(held) for held in sink.blobs.values())
    assert (result.blobs, result.mounted) == (len(world.blobs), pairs - len(world.blobs))
    assert sink.requests["HEAD manifest"] == 3, "one a tag"
    assert sink.requests["HEAD blob"] == 0
    assert sink.requests["PUT blob"] == len(world.blobs)
    assert sink.requests["POST"] == pairs + 1, "one a blob and repository, and one to see whether mounting works"
    assert sink.requests["PUT manifest"] == 6, "each manifest once: what has a tag is put by its tag alone"


def test_nothing_changed_costs_a_request_a_tag_and_asks_the_source_nothing(world: World) -> None:
    sink = StrictRegistry()
    first = world.run(sink)
    sink.forget_log()
    world.source.fetched.clear()
    again = world.run(sink)
    assert sink.requests == {"HEAD manifest": 3}
    assert world.source.fetched == []
    assert (again.blobs, again.bytes, again.skipped) == (0, 0, first.blobs)
    assert [root.digest for root in again.roots] == [world.manifests[name].digest for name in (WEB, API, SHARED)]


def test_what_was_seen_lately_costs_nothing_where_that_is_wanted(world: World) -> None:
    sink = StrictRegistry()
    world.run(sink)
    sink.forget_log()
    world.run(sink, trust_for=60)
    assert sink.total == 0


def test_verify_asks_for_everything_and_mends_it(world: World) -> None:
    sink = StrictRegistry()
    world.run(sink)
    lost = world.manifests[WEB].layers[1].digest
    sink.blobs["docker.io/library/web"].discard(lost)
    assert world.run(sink, trust_for=60).blobs == 0
    sink.forget_log()
    result = world.run(sink, trust_for=60, verify=True)
    assert (result.blobs, result.bytes) == (1, world.manifests[WEB].layers[1].size)
    assert sink.requests["HEAD blob"] >= sum(len(held) for held in sink.blobs.values())
    assert lost in sink.blobs["docker.io/library/web"]


def test_without_a_memory_the_manifests_say_it(world: World) -> None:
    sink = StrictRegistry()
    copy(world.items(), sink, survey=RegistrySurvey(sink))
    sink.forget_log()
    again = copy(world.items(), sink, survey=RegistrySurvey(sink))
    assert again.blobs == 0
    assert sink.requests == {"HEAD manifest": 6}


def test_a_target_that_was_emptied_is_filled_again_whatever_was_remembered(world: World) -> None:
    world.run(StrictRegistry())
    sink = StrictRegistry()
    assert world.run(sink).blobs == len(world.blobs)
    assert sink.manifests["quay.io/team/api", "2"].digest == world.manifests[API].digest


def test_more_that_is_carried_of_the_same_digest_is_not_taken_for_done(world: World) -> None:
    sink = StrictRegistry(takes_sparse=True)
    amd64 = (Platform.parse("linux/amd64"),)
    world.run(sink, world.items(API, platforms=amd64))
    before = len(sink.blobs["quay.io/team/api"])
    result = world.run(sink, world.items(API))
    assert result.blobs == len(sink.blobs["quay.io/team/api"]) - before == 2


def test_tags_appear_after_everything_and_children_before_indexes(world: World) -> None:
    sink = StrictRegistry()
    world.run(sink)
    puts = [target for kind, _, target in sink.log if kind == "PUT manifest"]
    assert [":" in target for target in puts] == [True] * 3 + [False] * 3
    last_blob = max(n for n, (kind, _, _) in enumerate(sink.log) if kind == "PUT blob")
    first_manifest = min(n for n, (kind, _, _) in enumerate(sink.log) if kind == "PUT manifest")
    assert last_blob < first_manifest


def test_a_registry_that_cannot_mount_is_asked_before_much_is_sent_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.transfer.blob.WORTH_ASKING", 10_000)
    sink = StrictRegistry(mounts=False)
    world.run(sink)
    for key in [key for key in sink.manifests if "sha256" not in key[1]]:
        del sink.manifests[key]
    sink.forget_log()
    world.state.unlink()
    world.run(sink)
    assert not [
        digest for digest, _ in sink.written.items() if digest in {m.layers[0].digest for m in world.leaves()[:2]}
    ]


def test_a_blob_of_an_image_that_is_there_is_mounted_from_it(world: World) -> None:
    sink = StrictRegistry()
    world.run(sink, world.items(WEB))
    base = world.manifests[WEB].layers[0]
    sink.forget_log()
    result = world.run(sink, world.items(WEB, SHARED))
    assert sink.written[base.digest] == 0
    assert result.mounted >= 1
    assert base.digest in sink.blobs["ghcr.io/team/shared"]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be looked at", None])
def test_a_useless_state_is_made_anew(world: World, damage: bytes | None) -> None:
    sink = StrictRegistry()
    world.run(sink)
    for path in world.state.parent.iterdir():
        path.unlink()
    if damage is not None:
        world.state.write_bytes(damage)
    assert world.run(sink).blobs == 0
    sink.forget_log()
    world.run(sink)
    assert sink.requests == {"HEAD manifest": 3}


def test_a_state_that_cannot_be_is_done_without(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.state.parent.write_text("in the way")
    assert world.run(StrictRegistry()).blobs == len(world.blobs)
    assert "done without" in caplog.text


def test_a_sparse_index_that_is_refused_is_said_before_any_tag_goes(world: World) -> None:
    sink = StrictRegistry()
    amd64 = (Platform.parse("linux/amd64"),)
    with pytest.raises(UnreachableError) as caught:
        world.run(sink, world.items(platforms=amd64))
    assert caught.value.code == "sparse-index"
    assert caught.value.items == (API,)
    assert "--single-platform" in caught.value.hint
    assert not [key for key in sink.manifests if not key[1].startswith("sha256:")]


def test_one_platform_goes_under_the_tag_where_that_is_wanted(world: World) -> None:
    sink = StrictRegistry()
    items = world.items(platforms=(Platform.parse("linux/amd64"),), content="single")

    def run() -> CopyResult:
        with Memory(world.state, "there") as memory:
            return copy(items, sink, survey=RegistrySurvey(sink, memory), reshape=one_platform)

    result = run()
    child = world.manifests[API].manifests[0].digest
    assert sink.manifests["quay.io/team/api", "2"].digest == result.roots[1].digest == child
    assert sink.manifests["docker.io/library/web", "1"].digest == world.manifests[WEB].digest
    sink.forget_log()
    assert run().roots == result.roots
    assert sink.requests == {"HEAD manifest": 3}


def test_several_platforms_do_not_fit_under_one_tag(world: World) -> None:
    children = world.manifests[API].manifests
    from isthmus.transfer.tree import Tree

    leaves = tuple(world.source.store.manifest_by_digest(child.digest) for child in children)
    whole = Tree(world.manifests[API], (*leaves, world.manifests[API]))
    (item,) = world.items(API)
    assert one_platform(item, whole) is whole
    none = Tree(world.manifests[API], (world.manifests[API],))
    with pytest.raises(UsageError) as caught:
        one_platform(item, none)
    assert caught.value.code == "sparse-index"
