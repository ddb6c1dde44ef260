"""Blobs in pieces, in any order, and their way into a store."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.errors import IncompleteError, UnreachableError, UsageError, VerificationError
from isthmus.oci import Descriptor
from isthmus.store import Staging, Store, StoredReference, pieces
from tests.store import content

DATA = bytes(range(250)) * 40
BLOB = content.describe(DATA)
SIZE = len(DATA)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging")


def put(staging: Staging, start: int, end: int, blob: Descriptor = BLOB, data: bytes = DATA) -> int:
    """Write a piece as far as it is needed, and return how much that was."""
    with staging.write_at(blob.digest, blob.size, start, end - start) as writer:
        needed = end - writer.offset
        for at in range(writer.offset, end, 700):
            writer.write(memoryview(data)[at : min(end, at + 700)])
        assert writer.offset == end
        writer.commit()
    return needed


def test_pieces_in_any_order(staging: Staging) -> None:
    put(staging, 5000, SIZE)
    assert staging.missing(BLOB.digest, SIZE) == [(0, 5000)]
    put(staging, 0, 100)
    assert not staging.complete(BLOB.digest, SIZE)
    assert not staging.have(BLOB.digest, SIZE)
    assert list(staging) == []
    put(staging, 100, 5000)
    assert staging.missing(BLOB.digest, SIZE) == []
    assert staging.complete(BLOB.digest, SIZE)
    assert staging.complete(BLOB.digest, SIZE)
    assert staging.have(BLOB.digest, SIZE)
    assert list(staging) == [(BLOB.digest, SIZE)]
    assert staging.blobs.path(BLOB.digest).read_bytes() == DATA
    assert os.listdir(staging.path / "parts") == []
    assert put(staging, 0, SIZE) == 0


def test_pieces_in_order_need_no_second_pass(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(0, SIZE, 2500):
        put(staging, start, start + 2500)
    monkeypatch.setattr("isthmus.store.staging.hash_rest", lambda *_: pytest.fail("it was read again"))
    assert staging.complete(BLOB.digest, SIZE)
    assert staging.blobs.path(BLOB.digest).read_bytes() == DATA


def test_pieces_in_order_that_somebody_else_touched_are_hashed_again(staging: Staging) -> None:
    put(staging, 0, 5000)
    other = Staging(staging.path)
    with other.write_at(BLOB.digest, SIZE, 4000, 6000) as writer:  # of a damaged volume; never committed
        put(staging, 5000, SIZE)
        writer.write(memoryview(b"\x00" * 5000))
        assert not staging.complete(BLOB.digest, SIZE)  # while somebody writes
    with pytest.raises(VerificationError) as caught:
        staging.complete(BLOB.digest, SIZE)
    assert caught.value.code == "digest-mismatch"
    assert staging.missing(BLOB.digest, SIZE) == [(0, SIZE)]
    assert os.listdir(staging.path / "parts") == []
    put(staging, 0, SIZE)
    assert staging.complete(BLOB.digest, SIZE)


def test_a_piece_counts_only_once_it_is_committed(staging: Staging) -> None:
    with staging.write_at(BLOB.digest, SIZE, 0, SIZE) as writer:
        writer.write(memoryview(DATA[:-1]))
        with pytest.raises(VerificationError, match="shorter"):
            writer.commit()
    assert staging.missing(BLOB.digest, SIZE) == [(0, SIZE)]
    with staging.write_at(BLOB.digest, SIZE, 10, 10) as writer, pytest.raises(VerificationError, match="longer"):
        writer.write(memoryview(DATA[:11]))
    assert not staging.complete(BLOB.digest, SIZE)


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, SIZE + 1), (SIZE, 1), (5, -1)])
def test_pieces_that_cannot_be(staging: Staging, offset: int, length: int) -> None:
    with pytest.raises(UsageError):
        staging.write_at(BLOB.digest, SIZE, offset, length)


def test_another_process_goes_on(staging: Staging) -> None:
    put(staging, 3000, 6000)
    put(staging, 0, 2000)
    later = Staging(staging.path)
    assert later.missing(BLOB.digest, SIZE) == [(2000, 3000), (6000, SIZE)]
    assert put(later, 3000, 6000) == 0
    assert put(later, 1000, 3000) == 2000
    put(later, 6000, SIZE)
    assert later.complete(BLOB.digest, SIZE)


def test_a_torn_or_foreign_journal_is_believed_only_as_far_as_it_is_whole(staging: Staging) -> None:
    put(staging, 0, 2000)
    journal = next((staging.path / "parts").glob("*.ranges"))
    for torn in (
        b"\n20",
        b"\n2000 80",
        b"\nrubbish;",
        b"\n1 2 3;",
        b"\n2000 99999;",
        b"\xff\x00",
        b"\n99999999999999999999 1;",
    ):
        with journal.open("ab") as file:
            file.write(torn)
        assert staging.missing(BLOB.digest, SIZE) == [(2000, SIZE)]
    put(staging, 2000, SIZE)
    assert staging.complete(BLOB.digest, SIZE)


def test_the_empty_blob_and_a_blob_that_comes_whole(staging: Staging) -> None:
    empty = content.describe(b"")
    assert staging.complete(empty.digest, 0)
    assert staging.have(empty.digest, 0)
    for end in (4000, SIZE):
        with staging.write_blob(BLOB.digest, SIZE) as writer:
            writer.write(memoryview(DATA)[writer.offset : end])
            if end == SIZE:
                assert writer.offset == SIZE
                writer.commit()
    assert staging.complete(BLOB.digest, SIZE)


def test_the_same_digest_with_another_size(staging: Staging) -> None:
    put(staging, 0, SIZE)
    assert staging.missing(BLOB.digest, 100) == []
    with pytest.raises(VerificationError):
        staging.complete(BLOB.digest, 100)
    assert not staging.have(BLOB.digest, 100)


def test_a_failed_write(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.store.test_ingest import file_size_limit

    with staging.write_at(BLOB.digest, SIZE, 0, SIZE) as writer:
        with file_size_limit(1000), pytest.raises(UnreachableError):
            writer.write(memoryview(DATA))
        with pytest.raises(VerificationError):
            writer.commit()
    assert staging.missing(BLOB.digest, SIZE) == [(0, SIZE)]
    put(staging, 0, SIZE)
    assert staging.complete(BLOB.digest, SIZE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_pieces(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Overlapping pieces in any order, abandoned, restarted: whole exactly when everything was committed."""
    path = tmp_path_factory.mktemp("any")
    staging = Staging(path)
    covered: set[int] = set()
    unit = 1000
    for _ in range(data.draw(st.integers(1, 12))):
        start, end = sorted(data.draw(st.lists(st.integers(0, 10), min_size=2, max_size=2, unique=True)))
        how = data.draw(st.sampled_from(["commit", "abandon", "restart"]))
        if how == "restart":
            staging = Staging(path)
        with staging.write_at(BLOB.digest, SIZE, start * unit, (end - start) * unit) as writer:
            if writer.offset == end * unit:
                assert covered >= set(range(start, end))
            else:
                assert writer.offset == start * unit
                stop = end * unit if how != "abandon" else data.draw(st.integers(start * unit, end * unit))
                writer.write(memoryview(DATA)[start * unit : stop])
            if how != "abandon":
                writer.commit()
                covered |= set(range(start, end))
        holes = staging.missing(BLOB.digest, SIZE)
        assert {n for n in range(10) if n not in covered} == {
            n for a, b in holes for n in range(a // unit, b // unit)
        }
        assert staging.complete(BLOB.digest, SIZE) == (len(covered) == 10)
    if len(covered) == 10:
        assert staging.blobs.path(BLOB.digest).read_bytes() == DATA


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), max_size=8), st.integers(0, 50))
def test_holes(raw: list[list[int]], size: int) -> None:
    ranges = sorted((a, b) for a, b in raw)
    covered = {n for a, b in ranges for n in range(a, b)}
    found = pieces.holes(ranges, size)
    assert [n for a, b in found for n in range(a, b)] == [n for n in range(size) if n not in covered] or any(
        b > size for _, b in ranges
    )


def test_adoption(staging: Staging, store: Store) -> None:
    with Store.create(staging.path.parent / "made") as made:
        image = content.put_image(made, "a", "1")
        referrer = content.put_referrer(made, image)
        everything = [digest for digest, _ in made.iter_blobs()]
        for digest, size in made.iter_blobs():
            data = made.blob_path(digest).read_bytes()
            with staging.write_blob(digest, size) as writer:
                writer.write(memoryview(data))
                writer.commit()
    before = content.tree(store.path)
    with pytest.raises(IncompleteError) as caught:
        store.adopt(staging, [*everything, BLOB.digest])
    assert caught.value.items == (BLOB.digest,)
    assert content.tree(store.path) == before
    assert store.adopt(staging, everything[:2]) == 2
    assert store.adopt(staging, everything + everything) == len(everything) - 2  # as after a crash
    assert store.adopt(staging, everything) == 0
    assert list(staging) == []
    store.set_references([StoredReference("docker.io/library/nginx:1", image.descriptor())])
    assert store.manifest("docker.io/library/nginx", "1").raw == image.raw
    assert [r.digest for r in store.referrers("x", image.digest)] == [referrer.digest]
    assert list(store.scrub()) == []


def test_adoption_of_what_is_there_already_or_on_another_file_system(
    staging: Staging, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(staging, 0, SIZE)
    staging.complete(BLOB.digest, SIZE)
    other = Path("/dev/shm") if Path("/dev/shm").is_dir() else store.path.parent
    if os.stat(other).st_dev == os.stat(staging.path).st_dev:
        pytest.skip("there is no second file system to write to")
    place = other / f"isthmus-test-{os.getpid()}"
    try:
        with Store.create(place) as elsewhere:
            assert elsewhere.adopt(staging, [BLOB.digest]) == 1
            assert elsewhere.verify_blob(BLOB.digest) == SIZE
            assert list(staging) == []
    finally:
        import shutil

        shutil.rmtree(place, ignore_errors=True)
    put(staging, 0, SIZE)
    staging.complete(BLOB.digest, SIZE)
    content.put_blob(store, DATA)
    assert store.adopt(staging, [BLOB.digest]) == 0
    assert list(staging) == []
