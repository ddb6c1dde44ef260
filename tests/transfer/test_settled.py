"""Whether a store has everything of a lock: said without loading much, and left to `pull` in any doubt."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Platform
from isthmus.serve import serving
from isthmus.serve.options import Listen
from isthmus.store import Store
from isthmus.transfer.settled import count_settled
from tests.transfer.images import API, SHARED, WEB, fill

HEAVY = ("isthmus.registry.client", "isthmus.store.database", "yaml", "sqlite3", "ssl", "http", "email", "rich")


def entries(store: Path) -> tuple[LockEntry, ...]:
    manifests = fill(store)
    return tuple(LockEntry("image", name, manifests[name].digest) for name in (API, SHARED, WEB))


def test_what_is_whole_is_counted(tmp_path: Path) -> None:
    wanted = entries(tmp_path / "store")
    whole = count_settled(tmp_path / "store", wanted)
    part = count_settled(tmp_path / "store", wanted, [Platform.parse("linux/amd64")])
    assert whole is not None
    assert part is not None
    assert 0 < part < whole


@pytest.mark.parametrize(
    "damage", ["no store", "blob gone", "blob cut", "blob changed", "name gone", "index damaged"]
)
def test_any_doubt_is_left_to_pull(tmp_path: Path, damage: str) -> None:
    store = tmp_path / "store"
    wanted = entries(store)
    root = store / "blobs/sha256" / wanted[0].digest.hex
    if damage == "no store":
        store.rename(tmp_path / "elsewhere")
    elif damage == "blob gone":
        root.unlink()
    elif damage == "blob cut":
        largest = max((store / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
    elif damage == "blob changed":
        root.write_bytes(root.read_bytes().replace(b":", b";", 1))
    elif damage == "name gone":
        wanted = (*wanted, LockEntry("image", "docker.io/library/other:1", wanted[0].digest))
    else:
        (store / "index.json").write_text("{")
    assert count_settled(store, wanted) is None


def test_a_pull_of_what_is_there_loads_little_and_asks_nobody(tmp_path: Path) -> None:
    write_lock(tmp_path / "isthmus.lock", Lock(references=entries(tmp_path / "store")))
    code = (
        "import sys; from isthmus.cli.main import run; status = run(['pull', '--store', 'store', '--json']); "
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    document = json.loads(done.stdout)
    assert (document["blobs"], document["bytes"]) == (0, 0)
    assert document["reused"] > 0


MOVERS = (
    "isthmus.transfer.engine", "isthmus.transfer.kubernetes", "isthmus.registry.fallback", "subprocess",
    "tempfile", "random", "yaml", "http", "email", "rich",
)  # fmt: skip


def loaded(words: list[str], suspects: tuple[str, ...], cwd: Path) -> tuple[dict[str, int], list[str]]:
    """Run a command with --json; its document, and which of the modules it loaded."""
    code = (
        f"import json, sys; from isthmus.cli.main import run; status = run({[*words, '--json']!r}); "
        f"print(json.dumps(sorted(set({suspects!r}) & set(sys.modules))), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("command", ["push", "mirror"])
def test_a_registry_that_has_all_is_asked_for_its_tags_or_not_at_all(tmp_path: Path, command: str) -> None:
    wanted = entries(tmp_path / "store")
    write_lock(tmp_path / "isthmus.lock", Lock(references=wanted))
    Store.create(tmp_path / "site").close()
    with (
        serving(tmp_path / "store", MirrorMap(prefix="")) as upstream,
        serving(tmp_path / "site", MirrorMap(prefix=""), Listen(writable=True)) as target,
    ):
        hosts = ("quay.io", "docker.io", "ghcr.io")
        words = [command, "--to", target]
        if command == "push":
            words += ["--store", "store"]
        else:
            words += [word for host in hosts for word in ("--upstream", f"{host}=http://{upstream}/{host}")]
        first, _ = loaded(words, (), tmp_path)
        assert first["blobs"] > 0
        again, modules = loaded(words, MOVERS, tmp_path)
        assert (again["blobs"], again["skipped"], modules) == (0, first["blobs"], [])
        assert again["requests"] <= len(wanted) + 1
        trusted, modules = loaded([*words, "--trust-for", "1h"], (*MOVERS, "isthmus.registry.client"), tmp_path)
        assert (trusted["requests"], trusted["skipped"], modules) == (0, first["blobs"], [])
        # A tag that somebody moved is put back.
        with Store.open(tmp_path / "site") as site:
            lost = site.references()[0].name
            site.set_references((), remove=[lost])
        mended, _ = loaded(words, (), tmp_path)
        assert mended["references"] == len(wanted)
        with Store.open(tmp_path / "site") as site:
            assert lost in [stored.name for stored in site.references()]
