"""What is collected and what is not."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from isthmus.errors import VerificationError
from isthmus.oci import Digest
from isthmus.store import Store, StoredReference
from tests.store import content

NOW = -1.0  # a grace period that spares nothing


def blobs(store: Store) -> set[Digest]:
    return {digest for digest, _ in store.iter_blobs()}


def collect(place: Path) -> set[Digest]:
    """Collect as another process would, with a Store of its own."""
    with Store.open(place) as store:
        expected = store.collect(grace_seconds=NOW, dry_run=True)
        before = blobs(store)
        result = store.collect(grace_seconds=NOW)
        assert result.digests == expected.digests
        assert (result.blobs, result.bytes, result.kept) == (expected.blobs, expected.bytes, expected.kept)
        assert before - blobs(store) == set(result.digests)
    return set(result.digests)


def test_what_no_name_leads_to_goes(place: Path) -> None:
    with Store.create(place) as store:
        kept, gone = content.put_image(store, "kept", "1"), content.put_image(store, "gone", "2")
        child = content.put_image(store, "child")
        index = content.index_of(child.descriptor(), content.put_image(store, "x").descriptor())
        nested = content.index_of(index.descriptor())
        store.put_manifest("quay.io/x/y", index)
        store.put_manifest("quay.io/x/y", nested, "all")
        stray = content.put_blob(store, b"stray")
    assert collect(place) == {stray.digest}
    with Store.open(place) as store:
        store.set_references([], remove=[f"{content.REPOSITORY}:2"])
    assert collect(place) == {gone.digest, gone.config and gone.config.digest, gone.layers[0].digest}
    with Store.open(place) as store:
        assert kept.digest in blobs(store)
        store.set_references([], remove=["quay.io/x/y:all"])
    assert len(collect(place)) == 2 + 3 + 3
    with Store.open(place) as store:
        assert blobs(store) == {kept.digest, kept.config and kept.config.digest, kept.layers[0].digest}


def test_absent_children_of_a_sparse_index_are_fine(place: Path) -> None:
    with Store.create(place) as store:
        here = content.put_image(store, "here")
        absent = content.manifest(content.describe(b"{}"), [])
        store.put_manifest("quay.io/x/y", content.index_of(here.descriptor(), absent.descriptor()), "1")
        signature = content.put_referrer(store, absent)
    assert collect(place) == set()
    with Store.open(place) as store:
        assert signature.digest in blobs(store)


def test_referrers_live_and_die_with_their_subject(place: Path) -> None:
    with Store.create(place) as store:
        image = content.put_image(store, "a", "1")
        signature = content.put_referrer(store, image)
        about_signature = content.put_referrer(store, signature, "application/vnd.example.about")
        store.set_references([])
    (place / "index.sqlite").unlink()
    assert collect(place) == set()
    with Store.open(place) as store:
        assert len(store.entries()) == 3
        store.set_references([], remove=[f"{content.REPOSITORY}:1"])
    assert collect(place) >= {image.digest, signature.digest, about_signature.digest}
    with Store.open(place) as store:
        assert store.entries() == ()
        assert blobs(store) == set()


def test_grace(place: Path) -> None:
    with Store.create(place) as store:
        old, new = content.put_blob(store, b"old"), content.put_blob(store, b"new")
    with Store.open(place) as store:
        hour_ago = time.time() - 4000
        os.utime(store.blob_path(old.digest), (hour_ago, hour_ago))
        assert store.collect().digests == (old.digest,)
        assert blobs(store) == {new.digest}


def test_what_a_running_pull_relies_on_stays(place: Path) -> None:
    with Store.create(place) as early:
        reused = content.put_blob(early, b"from an earlier run")
    with Store.open(place) as pull:
        assert pull.has_blob("x", reused)
        written = content.put_blob(pull, b"written now")
        image = content.put_image(pull, "a")
        with pull.write_blob("x", content.describe(b"half of it")) as writer:
            writer.write(memoryview(b"half"))
            assert collect(place) == set()
            assert len(os.listdir(place / "ingest")) == 1
        pull.set_references([StoredReference("quay.io/x/y:1", image.descriptor())])
        assert pull.collect(grace_seconds=NOW).digests == ()
    assert collect(place) == {reused.digest, written.digest}
    assert os.listdir(place / "ingest") == []
    assert [name for name in os.listdir(place / "leases") if name.endswith(".lease")] == []


def test_a_dead_lease_protects_nothing(place: Path) -> None:
    with Store.create(place) as store:
        blob = content.put_blob(store, b"x")
    (place / "leases" / f"{'0' * 16}.lease").write_text(f"{blob.digest}\n")
    assert collect(place) == {blob.digest}
    assert not (place / "leases" / f"{'0' * 16}.lease").exists()


def test_a_damaged_manifest_that_is_needed_stops_it(place: Path) -> None:
    with Store.create(place) as store:
        image = content.put_image(store, "a", "1")
        content.put_blob(store, b"stray")
        store.blob_path(image.digest).write_bytes(b"{}" + b" " * (image.size - 2))
    with Store.open(place) as store:
        before = blobs(store)
        with pytest.raises(VerificationError) as caught:
            store.collect(grace_seconds=NOW)
        assert caught.value.code == "damaged-store"
        assert blobs(store) == before


def test_a_manifest_of_an_unknown_kind_keeps_what_it_names(place: Path) -> None:
    with Store.create(place) as store:
        part = content.put_blob(store, b"part of something new")
        raw = json.dumps({"mediaType": "application/vnd.new+json", "blobs": [{"digest": part.digest}]}).encode()
        unknown = content.put_blob(store, raw)
        entry = {"mediaType": "application/vnd.new+json", "digest": unknown.digest, "size": unknown.size}
        (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    assert collect(place) == set()


def test_a_foreign_index_is_not_rewritten_for_nothing(place: Path) -> None:
    Store.create(place).close()
    odd = b'{"schemaVersion":2,  "manifests":[]}'
    (place / "index.json").write_bytes(odd)
    assert collect(place) == set()
    assert (place / "index.json").read_bytes() == odd


def test_a_chain_of_indexes_as_deep_as_you_like(place: Path) -> None:
    with Store.create(place) as store:
        manifest = content.put_image(store, "a")
        for _ in range(1100):
            manifest = content.index_of(manifest.descriptor())
            with store.write_blob("x", manifest.descriptor()) as writer:
                writer.write(memoryview(manifest.raw))
                writer.commit()
        store.set_references([StoredReference("quay.io/deep:1", manifest.descriptor())])
    assert collect(place) == set()


def test_beside_running_pulls_and_changing_names(place: Path) -> None:
    """Images come and get names while a collector runs all the time: no name ever leads to nothing."""
    Store.create(place).close()
    stop = threading.Event()
    failures: list[BaseException] = []

    def collector() -> None:
        try:
            while not stop.is_set():
                with Store.open(place) as store:
                    store.collect(grace_seconds=NOW)
        except BaseException as error:
            failures.append(error)

    def puller(number: int) -> None:
        try:
            for round_ in range(12):
                with Store.open(place) as store:
                    # The layers and config are those of the round before: often just being collected.
                    image = content.put_image(store, f"word {number} {round_ % 3}", f"{number}")
                    for blob in image.blobs:
                        assert store.has_blob("x", blob)
                with Store.open(place) as store:
                    read = store.manifest(content.REPOSITORY, f"{number}")
                    assert read.digest == image.digest
                    for blob in read.blobs:
                        store.verify_blob(blob.digest)
                    if round_ % 2:
                        store.set_references([], remove=[f"{content.REPOSITORY}:{number}"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=collector)]
    pullers = [threading.Thread(target=puller, args=(number,)) for number in range(3)]
    for thread in (*threads, *pullers):
        thread.start()
    for thread in pullers:
        thread.join()
    stop.set()
    threads[0].join()
    assert failures == []
