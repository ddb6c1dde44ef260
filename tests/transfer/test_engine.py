"""The copy engine between two stores: no network, every rule of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from isthmus.errors import UnreachableError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.oci.content import BlobReader
from isthmus.store import Store
from isthmus.transfer import CopyItem, copy
from tests.transfer.images import API, SHARED, WEB, fill


class Source:
    """A store as a source that counts what is asked and can be made to fail."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.opened: list[tuple[Digest, int]] = []
        self.fetched: list[str] = []
        self.failures: dict[Digest, list[Exception]] = {}

    def manifest(self, repository: str, target: str) -> Manifest:
        self.fetched.append(target)
        return self.store.manifest(repository, target)

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> BlobReader:
        self.opened.append((blob.digest, offset))
        waiting = self.failures.get(blob.digest)
        if waiting:
            raise waiting.pop(0)
        return self.store.open_blob(repository, blob, offset)

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        return self.store.referrers(repository, digest)


World: TypeAlias = "tuple[Source, Store, dict[str, Manifest]]"


def items(source: Source, manifests: dict[str, Manifest]) -> list[CopyItem]:
    return [
        CopyItem(
            name=name,
            source=source,
            source_repository=name.rpartition(":")[0],
            sink_repository=name.rpartition(":")[0],
            digest=manifests[name].digest,
            referrers=(manifests["signature"].digest,) if name == WEB else (),
        )
        for name in (WEB, API, SHARED)
    ]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    manifests = fill(tmp_path / "source")
    with Store.open(tmp_path / "source") as source, Store.create(tmp_path / "sink") as sink:
        yield Source(source), sink, manifests


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts that a test can wait for."""
    monkeypatch.setattr("isthmus.transfer.blob.FIRST_PAUSE", 0.001)


def test_every_blob_and_manifest_moves_once(world: World) -> None:
    source, sink, manifests = world
    result = copy(items(source, manifests), sink)
    opened = [digest for digest, _ in source.opened]
    assert len(opened) == len(set(opened)) == result.blobs
    assert len(source.fetched) == len(set(source.fetched))
    assert {digest for digest, _ in sink.iter_blobs()} == {digest for digest, _ in source.store.iter_blobs()}
    assert sink.manifest_by_digest(manifests[API].digest).raw == manifests[API].raw
    assert [d.digest for d in sink.referrers("docker.io/library/web", manifests[WEB].digest)] == [
        manifests["signature"].digest
    ]


def test_a_second_run_moves_nothing(world: World) -> None:
    source, sink, manifests = world
    first = copy(items(source, manifests), sink)
    source.opened.clear()
    again = copy(items(source, manifests), sink)
    assert source.opened == []
    assert (again.blobs, again.bytes, again.skipped) == (0, 0, first.blobs)


def test_largest_first(world: World) -> None:
    source, sink, manifests = world
    copy(items(source, manifests), sink, jobs=1)
    sizes = [source.store.blob_size(digest) or 0 for digest, _ in source.opened]
    assert sizes == sorted(sizes, reverse=True)


def test_trouble_that_passes_is_tried_again(world: World, quick: None) -> None:
    source, sink, manifests = world
    layer = manifests[WEB].layers[0]
    source.failures[layer.digest] = [UnreachableError("unreachable", "reset", temporary=True) for _ in range(3)]
    copy(items(source, manifests), sink)
    assert [digest for digest, _ in source.opened].count(layer.digest) == 4
    assert sink.has_blob("", layer)


def test_trouble_that_stays_ends_the_run_and_publishes_nothing(world: World, quick: None) -> None:
    source, sink, manifests = world
    layer = manifests[WEB].layers[1]
    source.failures[layer.digest] = [UnreachableError("unreachable", "reset", temporary=True) for _ in range(50)]
    with pytest.raises(UnreachableError) as caught:
        copy(items(source, manifests), sink)
    assert layer.digest in str(caught.value)
    assert not any(sink.has_manifest("", manifests[name].digest) for name in (WEB, API, SHARED))


def test_wrong_content_never_arrives(world: World, quick: None) -> None:
    source, sink, manifests = world
    layer = manifests[WEB].layers[1]
    path = source.store.blob_path(layer.digest)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(VerificationError) as caught:
        copy(items(source, manifests), sink)
    assert caught.value.code == "digest-mismatch"
    assert not sink.has_blob("", layer)


def test_progress_ends_at_the_total_even_after_a_retry(world: World, quick: None) -> None:
    source, sink, manifests = world
    layer = manifests[WEB].layers[0]
    source.failures[layer.digest] = [UnreachableError("unreachable", "reset", temporary=True)]
    seen: list[tuple[int, int]] = []
    copy(items(source, manifests), sink, progress=lambda done, total, _: seen.append((done, total)))
    done, total = seen[-1]
    assert done == total == sum(size for d, size in sink.iter_blobs() if d in {x for x, _ in source.opened})
