"""Writing blobs: resuming, verifying, two writers, a full disk."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.errors import UnreachableError, VerificationError
from isthmus.oci.content import CHUNK
from isthmus.store import Store
from tests.store import content

DATA = os.urandom(3 * CHUNK + 17)
BLOB = content.describe(DATA)


def partials(store: Store) -> list[str]:
    directory = store.path / "ingest"
    return sorted(os.listdir(directory)) if directory.exists() else []


def write_part(store: Store, data: bytes) -> int:
    with store.write_blob("x", BLOB) as writer:
        start = writer.offset
        writer.write(memoryview(data))
    return start


def test_goes_on_where_it_stopped(store: Store) -> None:
    assert write_part(store, DATA[:1000]) == 0
    assert partials(store) == [f"sha256-{BLOB.digest.hex}"]
    assert not store.has_blob("x", BLOB)
    assert list(store.iter_blobs()) == []
    assert write_part(store, DATA[1000 : 2 * CHUNK]) == 1000
    with store.write_blob("x", BLOB) as writer:
        assert writer.offset == 2 * CHUNK
        writer.write(memoryview(DATA)[writer.offset :])
        assert writer.offset == len(DATA)
        writer.commit()
    assert store.blob_path(BLOB.digest).read_bytes() == DATA
    assert partials(store) == []


def test_a_blob_that_is_there_needs_no_bytes(store: Store) -> None:
    content.put_blob(store, DATA)
    with store.write_blob("x", BLOB) as writer:
        assert writer.offset == BLOB.size
        writer.write(memoryview(b""))
        with pytest.raises(VerificationError):
            writer.write(memoryview(b"x"))
        writer.commit()
    assert partials(store) == []


def test_a_complete_partial_needs_only_the_commit(store: Store) -> None:
    write_part(store, DATA)
    with store.write_blob("x", BLOB) as writer:
        assert writer.offset == BLOB.size
        writer.commit()
    assert store.has_blob("x", BLOB)


def test_the_empty_blob(store: Store) -> None:
    blob = content.put_blob(store, b"")
    assert store.has_blob("x", blob)
    assert store.verify_blob(blob.digest) == 0


@pytest.mark.parametrize("data", [DATA[:-1] + b"\x00", DATA[:-1], b""], ids=["changed", "cut", "empty"])
def test_wrong_bytes_are_never_published_and_are_forgotten(store: Store, data: bytes) -> None:
    if data == DATA:
        pytest.skip("the random last byte was zero")
    with store.write_blob("x", BLOB) as writer:
        writer.write(memoryview(data))
        with pytest.raises(VerificationError):
            writer.commit()
        with pytest.raises(UnreachableError):
            writer.commit()
    assert partials(store) == []
    assert not store.has_blob("x", BLOB)


def test_a_byte_too_many_is_refused_at_once(store: Store) -> None:
    with store.write_blob("x", BLOB) as writer:
        writer.write(memoryview(DATA))
        with pytest.raises(VerificationError) as caught:
            writer.write(memoryview(b"x"))
    assert caught.value.code == "size-mismatch"
    assert partials(store) == []


def test_a_partial_that_is_too_long_or_damaged_does_no_harm(store: Store) -> None:
    write_part(store, DATA[:1000])
    partial = store.path / "ingest" / f"sha256-{BLOB.digest.hex}"
    partial.write_bytes(DATA + b"more")
    assert write_part(store, DATA[:1000]) == 0
    partial.write_bytes(b"\x00" * 1000)  # as after a power cut
    with store.write_blob("x", BLOB) as writer:
        writer.write(memoryview(DATA)[writer.offset :])
        with pytest.raises(VerificationError):
            writer.commit()
    content.put_blob(store, DATA)
    assert store.verify_blob(BLOB.digest) == BLOB.size


def test_a_truncated_blob_under_its_final_name_is_not_trusted(store: Store) -> None:
    content.put_blob(store, DATA)
    os.truncate(store.blob_path(BLOB.digest), 5)
    assert not store.has_blob("x", BLOB)
    content.put_blob(store, DATA)
    assert store.verify_blob(BLOB.digest) == BLOB.size


def test_nothing_is_left_where_nothing_was_written(store: Store) -> None:
    with store.write_blob("x", BLOB):
        pass
    assert partials(store) == []


def test_two_writers_of_one_blob_do_not_wait_for_each_other(store: Store) -> None:
    name = f"sha256-{BLOB.digest.hex}"
    with store.write_blob("x", BLOB) as one, Store.open(store.path) as other, other.write_blob("x", BLOB) as two:
        one.write(memoryview(DATA[:1000]))
        two.write(memoryview(DATA))
        assert partials(store) == [name, f"{name}.1"]
        two.commit()
        one.write(memoryview(DATA[1000:]))
        one.commit()
    assert store.verify_blob(BLOB.digest) == BLOB.size
    assert partials(store) == []


def test_the_place_of_a_dead_second_writer_is_taken_over(store: Store) -> None:
    with store.write_blob("x", BLOB) as one:
        one.write(memoryview(DATA[:10]))
        write_part(store, DATA[:2000])  # in .1, and left
        with store.write_blob("x", BLOB) as two:
            assert two.offset == 2000


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_is_an_error_of_ours_and_can_be_resumed(store: Store) -> None:
    with store.write_blob("x", BLOB) as writer:
        with file_size_limit(2 * CHUNK + 100), pytest.raises(UnreachableError) as caught:
            writer.write(memoryview(DATA))
        with pytest.raises(UnreachableError):
            writer.commit()
    assert caught.value.code == "io-failed"
    assert caught.value.hint
    with store.write_blob("x", BLOB) as writer:
        assert writer.offset == 2 * CHUNK + 100
        writer.write(memoryview(DATA)[writer.offset :])
        writer.commit()
    assert store.blob_path(BLOB.digest).read_bytes() == DATA


@pytest.mark.root
def test_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={2 * CHUNK}", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        with Store.create(mount / "store") as store:
            with pytest.raises(UnreachableError) as caught:
                content.put_blob(store, DATA)
            assert caught.value.code == "io-failed"
            assert "space" in caught.value.message
            assert list(store.iter_blobs()) == []
            subprocess.run(["mount", "-o", "remount,size=16m", str(mount)], check=True)
            with store.write_blob("x", BLOB) as writer:
                assert writer.offset > 0
                writer.write(memoryview(DATA)[writer.offset :])
                writer.commit()
            assert store.verify_blob(BLOB.digest) == BLOB.size
            content.put_image(store, "a", "1")
            before = store.references()
            with pytest.raises(UnreachableError):  # index.json itself does not fit any more
                content.put_blob(store, os.urandom(20 * CHUNK))
            assert store.references() == before
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.root
def test_a_medium_that_cannot_be_written_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting read-only needs root")
    place = tmp_path / "store"
    with Store.create(place) as store:
        image = content.put_image(store, "a", "1")
        referrer = content.put_referrer(store, image)
    for leftover in place.glob("index.sqlite*"):
        leftover.unlink()
    mounted = subprocess.run(["mount", "--bind", str(place), str(place)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        with Store.open(place) as store:
            assert store.manifest(content.REPOSITORY, "1").digest == image.digest
            assert store.has_blob("x", image.layers[0])
            assert [r.digest for r in store.referrers("x", image.digest)] == [referrer.digest]
            with pytest.raises(UnreachableError) as caught:
                content.put_blob(store, DATA)
            assert caught.value.code == "io-failed"
    finally:
        subprocess.run(["umount", str(place)], check=True)
