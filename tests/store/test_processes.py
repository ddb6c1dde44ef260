"""Several processes at once, and processes that are killed."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from isthmus.store import Staging, Store, StoredReference
from tests.store import content

SIZE = 400_000
COUNT = 12
PAUSE = float(os.environ.get("ISTHMUS_TEST_PAUSE", "0"))  # seconds between chunks, so that a kill hits in between

WRITER = textwrap.dedent(
    """
    import random, sys
    from pathlib import Path
    from isthmus.store import Store, Staging, StoredReference
    from tests.store import content
    from tests.store.test_processes import blobs, fill, stage

    print("go", flush=True)
    {"fill": fill, "stage": stage}[sys.argv[1]](Path(sys.argv[2]))
    """
)


def blobs() -> list[bytes]:
    return [random.Random(n).randbytes(SIZE) for n in range(COUNT)]


def fill(path: Path) -> None:
    """Write every blob in small chunks and name an image of them."""
    with Store.create(path) as store:
        described = []
        for data in blobs():
            blob = content.describe(data)
            described.append(blob)
            with store.write_blob("x", blob) as writer:
                for at in range(writer.offset, blob.size, 20_000):
                    time.sleep(PAUSE)
                    writer.write(memoryview(data)[at : at + 20_000])
                writer.commit()
            image = content.manifest(described[0], described)
            store.put_manifest("quay.io/x/y", image)
            store.set_references([StoredReference(f"quay.io/x/y:{len(described)}", image.descriptor())])


def stage(path: Path) -> None:
    """Stage every blob in pieces, in an order that differs from process to process, and adopt them."""
    order = random.Random(os.getpid())
    with Store.create(path) as store:
        staging = Staging(path.parent / "staging")
        wanted = [(content.describe(data), data) for data in blobs()]
        for blob, data in wanted:
            if store.has_blob("x", blob):
                continue
            starts = list(range(0, SIZE, 50_000))
            order.shuffle(starts)
            for start in starts:
                with staging.write_at(blob.digest, blob.size, start, 50_000) as writer:
                    for at in range(writer.offset, start + 50_000, 10_000):
                        time.sleep(PAUSE / 2)
                        writer.write(memoryview(data)[at : at + 10_000])
                    writer.commit()
            while not staging.complete(blob.digest, blob.size):
                if store.has_blob("x", blob):
                    break
                time.sleep(0.01)
        image = content.manifest(wanted[0][0], [blob for blob, _ in wanted])
        store.adopt(staging, [blob.digest for blob, _ in wanted])
        store.put_manifest("quay.io/x/y", image, "1")


def start(what: str, path: Path, pause: float = 0.001) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "ISTHMUS_TEST_PAUSE": str(pause)}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, what, str(path)], env=environment, stdout=subprocess.PIPE
    )


def check(path: Path, count: int) -> None:
    with Store.open(path) as store:
        assert list(store.scrub()) == []
        for data in blobs()[:count]:
            assert store.has_blob("x", content.describe(data))


def test_two_processes_write_the_same(tmp_path: Path) -> None:
    fill(tmp_path / "alone")
    running = [start("fill", tmp_path / "store") for _ in range(3)]
    assert [process.communicate() and process.returncode for process in running] == [0, 0, 0]
    assert content.tree(tmp_path / "store") == content.tree(tmp_path / "alone")
    assert os.listdir(tmp_path / "store" / "ingest") == []


def kill_again_and_again(what: str, path: Path, times: int) -> None:
    """Kill writers at random moments; what has a final name is whole each time."""
    chance = random.Random(20)
    hits = 0
    for _ in range(times):
        process = start(what, path, pause=0.005)
        assert process.stdout is not None
        with process.stdout as said:
            said.readline()  # it is past its imports
        time.sleep(chance.random() * 0.06)
        process.send_signal(signal.SIGKILL)
        hits += process.wait() == -signal.SIGKILL
        if (path / "oci-layout").exists():
            with Store.open(path) as store:
                assert list(store.scrub()) == []
                for reference in store.references():
                    for blob in store.manifest_by_digest(reference.descriptor.digest).blobs:
                        assert store.blob_size(blob.digest) == blob.size
    assert hits > times // 3, f"only {hits} writers were killed before their end"


def test_killed_while_writing(tmp_path: Path) -> None:
    fill(tmp_path / "alone")
    kill_again_and_again("fill", tmp_path / "store", 20)
    fill(tmp_path / "store")
    assert content.tree(tmp_path / "store") == content.tree(tmp_path / "alone")
    assert os.listdir(tmp_path / "store" / "ingest") == []


def test_killed_while_staging(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    stage(tmp_path / "alone" / "store")
    kill_again_and_again("stage", tmp_path / "store", 20)
    stage(tmp_path / "store")
    assert content.tree(tmp_path / "store") == content.tree(tmp_path / "alone" / "store")
    assert os.listdir(tmp_path / "staging" / "parts") == []


def test_two_processes_stage_the_same(tmp_path: Path) -> None:
    running = [start("stage", tmp_path / "store") for _ in range(2)]
    assert [process.communicate() and process.returncode for process in running] == [0, 0]
    check(tmp_path / "store", COUNT)
