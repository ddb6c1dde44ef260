"""`isthmus pull docker-archive:…` and `isthmus export` from the command line, interruptions included."""

import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from isthmus.demo.images import filler
from isthmus.inventory.lock import Lock, LockEntry, read_lock, write_lock
from isthmus.oci import Descriptor, Digest
from isthmus.store import Store
from isthmus.transfer.archive import bring
from tests.transfer.archives import layers, old_docker, pack, plain_layer, skopeo
from tests.transfer.images import WEB, fill

PAUSE = "registry.k8s.io/pause:3.10"


def start(*words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "isthmus", *words], cwd=cwd, capture_output=True)


def run(*words: str, cwd: Path, status: int = 0) -> Any:
    done = start(*words, "--json", cwd=cwd)
    assert done.returncode == status, (done.stdout + done.stderr).decode()
    return json.loads(done.stdout)


def test_the_manual_way_with_a_lock(tmp_path: Path) -> None:
    (tmp_path / "saved.tar").write_bytes(pack(skopeo(PAUSE, layers())))
    locked = Digest.of(b"as the registry had it")
    write_lock(tmp_path / "isthmus.lock", Lock(references=(LockEntry("image", PAUSE, locked),)))
    before = (tmp_path / "isthmus.lock").read_bytes()
    pull = ("pull", "docker-archive:saved.tar", "--store", "s")
    planned = run(*pull, "--dry-run", cwd=tmp_path, status=3)
    assert planned["dry_run"]
    assert not (tmp_path / "s").exists()
    told = run(*pull, cwd=tmp_path, status=3)
    (image,) = told["archives"][0]["images"]
    assert (image["name"], image["restored"], image["locked"]) == (PAUSE, False, locked)
    assert (tmp_path / "isthmus.lock").read_bytes() == before
    people = start(*pull, cwd=tmp_path)
    assert people.returncode == 3
    assert b"digest differs from the lock" in people.stdout
    assert b"--accept-new-digest" in people.stdout
    told = run(*pull, "--accept-new-digest", cwd=tmp_path)
    assert told["accepted"] == [PAUSE]
    assert read_lock(tmp_path / "isthmus.lock").references[0].digest == image["digest"]
    assert run(*pull, cwd=tmp_path)["archives"][0]["images"][0]["restored"]
    assert run("check", "--store", "s", cwd=tmp_path)["missing"] == []


def test_without_a_lock(tmp_path: Path) -> None:
    (tmp_path / "saved.tar").write_bytes(pack(skopeo(PAUSE, layers())))
    told = run("pull", "docker-archive:saved.tar", cwd=tmp_path)
    assert told["archives"] == [
        {"file": "saved.tar", "images": [{**told["archives"][0]["images"][0], "name": PAUSE, "restored": False}]}
    ]
    assert run("export", "--out", "again.tar", cwd=tmp_path)["images"][0]["tags"] == [PAUSE]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("pull", "saved.tar"), "invalid-source"),
        (("pull", "docker-archive:"), "invalid-source"),
        (("pull", "docker-archive:none.tar"), "file-not-found"),
        (("pull", "docker-archive:none.tar", "--lock", "none.lock"), "file-not-found"),
        (("pull", "--accept-new-digest"), "wrong-usage"),
        (("export", "--out", "x.tar"), "store-not-found"),
        (("export", "--out", "-"), "wrong-usage"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...], code: str) -> None:
    assert run(*words, cwd=tmp_path, status=2)["error"]["code"] == code


def test_an_export_to_a_pipe(tmp_path: Path) -> None:
    fill(tmp_path / "s")
    done = start("export", "--store", "s", "--out", "-", "web:1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "piped.tar").write_bytes(done.stdout)
    run("export", "--store", "s", "--out", "file.tar", "web:1", cwd=tmp_path)
    assert (tmp_path / "piped.tar").read_bytes() == (tmp_path / "file.tar").read_bytes()
    with tarfile.open(tmp_path / "piped.tar") as tar:
        assert WEB.encode() in tar.extractfile("manifest.json").read()  # type: ignore[union-attr]
    assert run("export", "--store", "s", "--out", "x.tar", "web:9", cwd=tmp_path, status=3)["error"]["items"]


@pytest.mark.parametrize("packed", [False, True])
def test_what_an_interrupted_run_left_is_used(tmp_path: Path, packed: bool) -> None:
    layer = plain_layer({"large": filler("large", 3_000_000)})
    data = pack(old_docker({PAUSE: [layer]}))
    (tmp_path / "a").write_bytes(gzip.compress(data, 1) if packed else data)
    with Store.create(tmp_path / "s") as store:
        with store.write_blob("", Descriptor("x", Digest.of(layer), len(layer))) as writer:
            writer.write(memoryview(layer)[:2_000_000])
        result = bring([tmp_path / "a"], store)
        assert result.bytes < 1_100_000
        assert list(store.scrub()) == []
        assert [one.name for one in store.references()] == [PAUSE]


@pytest.mark.slow
def test_killed_anywhere_and_run_again(tmp_path: Path) -> None:
    images = {f"a{n}:1": [plain_layer({f"f{n}": filler(str(n), 20_000_000)})] for n in range(4)}
    (tmp_path / "in.tar").write_bytes(pack(old_docker(images)))
    run("pull", "docker-archive:in.tar", "--store", "whole", cwd=tmp_path)
    run("export", "--store", "whole", "--out", "whole.tar", cwd=tmp_path)
    started = time.monotonic()
    run("pull", "docker-archive:in.tar", "--store", "warm", cwd=tmp_path)
    longest = time.monotonic() - started
    for number in range(4):
        for words in (
            ("pull", "docker-archive:in.tar", "--store", "s"),
            ("export", "--store", "whole", "--out", "o"),
        ):
            command = [sys.executable, "-m", "isthmus", *words]
            process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
            time.sleep(longest * (0.4 + number * 0.15))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if (tmp_path / "s" / "oci-layout").exists():
            with Store.open(tmp_path / "s") as store:
                assert list(store.scrub()) == []
        if (tmp_path / "o").exists():
            assert (tmp_path / "o").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    run("pull", "docker-archive:in.tar", "--store", "s", cwd=tmp_path)
    run("export", "--store", "s", "--out", "o", cwd=tmp_path)
    assert (tmp_path / "o").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    assert not (tmp_path / ".o.partial").exists()
