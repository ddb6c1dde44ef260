"""`isthmus gc` forgets only what it is told to, and frees only what nothing needs."""

import json
import subprocess
import sys
from pathlib import Path

from isthmus.demo.images import filler, make_layer, name_it, put_image
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.store import Store


def gc(place: Path, *words: str) -> dict[str, object]:
    command = [sys.executable, "-m", "isthmus", "gc", "--store", "store", "--json", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    document: dict[str, object] = json.loads(done.stdout)
    return document


def test_gc_keeps_what_a_lock_names(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        base = make_layer({"base": filler("base", 50_000)})
        images = {}
        for name in ("a.example/keep:1", "a.example/drop:1"):
            own = make_layer({"own": filler(name, 20_000)})
            images[name] = put_image(store, name.rpartition(":")[0], [base, own])
            name_it(store, name, images[name])
    kept = images["a.example/keep:1"]
    write_lock(
        tmp_path / "a.lock",
        Lock(references=(LockEntry(kind="image", name="a.example/keep:1", digest=kept.digest),)),
    )
    assert gc(tmp_path, "--grace", "0")["blobs"] == 0
    planned = gc(tmp_path, "--grace", "0", "--lock", "a.lock", "--dry-run")
    assert (planned["forgotten"], planned["dry_run"]) == (["a.example/drop:1"], True)
    done = gc(tmp_path, "--grace", "0", "--lock", "a.lock")
    assert (done["forgotten"], done["blobs"]) == (["a.example/drop:1"], 3)  # manifest, config, own layer
    with Store.open(tmp_path / "store") as store:
        assert [reference.name for reference in store.references()] == ["a.example/keep:1"]
        assert all(store.has_blob("", blob) for blob in kept.blobs)
