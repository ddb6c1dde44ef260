"""`isthmus pull` killed with SIGKILL at random points: running again completes, byte for byte the same.

The upstream is the product's own embedded registry.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isthmus.demo.images import filler, make_layer, name_it, put_image
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import serving
from isthmus.store import Store

ROUNDS = 20
NAMES = [f"quay.io/kill/image{number}:1" for number in range(6)]

pytestmark = pytest.mark.slow


def build(path: Path) -> None:
    with Store.create(path) as store:
        base = make_layer({"base": filler("base", 12_000_000)})
        for name in NAMES:
            own = make_layer({"own": filler(name, 4_000_000)})
            name_it(store, name, put_image(store, name.rpartition(":")[0], [base, own]))


def visible(store: Path) -> dict[str, str]:
    """What others may look at: path → SHA-256."""
    files = [path for path in (store / "blobs").rglob("*") if path.is_file()]
    files += [path for path in (store / "index.json", store / "oci-layout") if path.exists()]
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_nothing_partial(store: Path) -> None:
    for name, digest in visible(store).items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{digest}", f"{name} holds something else"


def test_killed_anywhere_and_run_again(tmp_path: Path) -> None:
    build(tmp_path / "upstream")
    (tmp_path / "list.txt").write_text("\n".join(NAMES))
    chance = random.Random(20261124)
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        upstream = ["--upstream", f"quay.io=http://{address}/quay.io"]

        def command(*words: str) -> list[str]:
            return [sys.executable, "-m", "isthmus", *words, "-q", *upstream]

        subprocess.run(command("lock", "images:list.txt"), cwd=tmp_path, check=True)
        started = time.monotonic()
        subprocess.run(command("pull", "--store", "whole"), cwd=tmp_path, check=True)
        longest = time.monotonic() - started
        wanted = visible(tmp_path / "whole")
        killed = 0
        for number in range(ROUNDS * 4):
            store = tmp_path / f"store{number}"
            pull = command("pull", "--store", str(store))
            process = subprocess.Popen(pull, cwd=tmp_path)
            time.sleep(chance.uniform(0.25, 0.95) * longest)
            os.kill(process.pid, signal.SIGKILL)
            in_time = process.wait() == -signal.SIGKILL
            killed += in_time
            # On a busy machine the first run may have been slow, and the kills come late.
            longest *= 1.0 if in_time else 0.9
            if store.exists():
                assert_nothing_partial(store)
            subprocess.run(pull, cwd=tmp_path, check=True)
            assert visible(store) == wanted
            shutil.rmtree(store)
            if killed == ROUNDS:
                break
    assert killed == ROUNDS, "most kills came too late to say anything"
