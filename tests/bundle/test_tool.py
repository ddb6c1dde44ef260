"""What is carried of Isthmus itself: its own wheel, the wheels for other Pythons, and how bundles treat them."""

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from isthmus.bundle import (
    KeyPaths,
    held_by_all,
    load_private_key,
    load_public_key,
    make_receipt,
    pack,
    pack_again,
    plan_bundle,
    read_receipt,
    unpack,
    verify,
)
from isthmus.bundle.companions import for_operator
from isthmus.bundle.compared import changed_beside
from isthmus.bundle.tool import EXTRAS, Target
from isthmus.bundle.tool.artifact import store_tool, stored_tool
from isthmus.bundle.tool.own import OwnWheel, is_stale, own_wheel
from isthmus.bundle.tool.wheels import cached_wheels, given_wheels, requirements
from isthmus.errors import UnreachableError
from isthmus.store import Store
from tests.bundle.conftest import fill, put_image, tree
from tests.bundle.tool_fixture import HERE, VERSION, small_own, small_tool, wheel

NEEDED = sorted(re.split(r"[^A-Za-z0-9_-]", text)[0].lower() for text in requirements(own_wheel(), EXTRAS, HERE))
"""What Isthmus and the extras that cross depend on; none of these depends on anything here."""


def isthmus(*words: str | Path, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "isthmus", *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=120
    )


def test_its_own_wheel_is_the_code_that_runs() -> None:
    import isthmus as package

    own = own_wheel()
    with zipfile.ZipFile(io.BytesIO(own.data)) as archive:
        names = set(archive.namelist())
        assert archive.read("isthmus/__init__.py") == Path(package.__file__).read_bytes()
        assert not [name for name in names if "__pycache__" in name]
        info = f"isthmus-{own.version}.dist-info"
        assert {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")} <= names
        listed = {line.split(",")[0] for line in archive.read(f"{info}/RECORD").decode().splitlines()}
        assert listed == names
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert f"Version: {own.version}" in own.metadata


def test_what_holds_only_for_another_python_is_not_forgotten(tmp_path: Path) -> None:
    """pip reads `python_version` as its own; the target's is what counts."""
    newer = "3.99"
    requires = (f'only-newer; python_version >= "{newer}"', f'only-older; python_version < "{newer}"')
    for name, needs in (("needed", requires), ("only_newer", ()), ("only_older", ()), ("unneeded", ())):
        (tmp_path / f"{name}-1-py3-none-any.whl").write_bytes(wheel(name, "1", {}, needs))
    metadata = "Requires-Dist: needed>=1\nRequires-Dist: extra-thing; extra == 'other'\n"
    own = OwnWheel("isthmus-1-py3-none-any.whl", b"", "1", metadata)
    targets = [HERE, Target(newer, HERE.machine)]
    found = given_wheels(own, (), targets, tmp_path)
    names = {target: [path.name.partition("-")[0] for path in found[target]] for target in targets}
    assert names == {targets[0]: ["needed", "only_older"], targets[1]: ["needed", "only_newer"]}
    with pytest.raises(UnreachableError) as refused:
        given_wheels(own, ("other",), targets, tmp_path)
    assert (refused.value.code, refused.value.status) == ("no-tool", 5)
    assert "--no-tool" in refused.value.hint


def test_what_was_fetched_once_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, cache = tmp_path / "index", tmp_path / "cache"
    index.mkdir()
    (index / "needed-1-py3-none-any.whl").write_bytes(wheel("needed", "1", {}))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    own = small_own()
    (first,) = cached_wheels(own, (), [HERE], cache).values()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    assert cached_wheels(own, (), [HERE], cache) == {HERE: first}
    first[0].write_bytes(b"rotten")
    with pytest.raises(UnreachableError):
        cached_wheels(own, (), [HERE], cache)
    assert not list(cache.glob(".fetching-*"))


def test_the_store_keeps_one_version_and_knows_it_again(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        fill(store)
        tool = small_tool(store, tmp_path / "wheels")
        assert stored_tool(store, small_own(), (HERE,)) == tool
        assert stored_tool(store, small_own(), (HERE, Target("3.99", "x86_64"))) is None
        before = tree(tmp_path / "store")
        assert small_tool(store, tmp_path / "wheels") == tool
        assert tree(tmp_path / "store") == before
        newer = OwnWheel("isthmus-9-py3-none-any.whl", wheel("isthmus", "9", {}), "9", "")
        assert stored_tool(store, newer, (HERE,)) is None
        carried = store_tool(store, newer, {HERE: []})
        names = [held.name for held in store.references() if held.name.startswith("isthmus.internal/tool/")]
        assert names == [carried.reference.name]
        plan = plan_bundle(store)
        assert not [ref for ref in plan.manifest.references if ref.kind == "tool"]


def carried(place: Path, keys: KeyPaths, **options: Any) -> Path:
    with Store.open(place / "source") as store:
        tool = small_tool(store, place / "wheels")
        companions = for_operator(tool.bootstrap, VERSION)
        plan = plan_bundle(store, first=[tool.reference], companions=companions, **options)
        pack(plan, store, place / "out", load_private_key(keys.private))
    return place / "out"


def test_a_changed_file_beside_the_volumes_is_found(tmp_path: Path, keys: KeyPaths) -> None:
    with Store.create(tmp_path / "source") as store:
        fill(store)
    out, public = carried(tmp_path, keys), [load_public_key(keys.public)]
    assert verify([out], public).complete
    assert {"README.txt", "contents.txt", "bootstrap.py"} <= set(os.listdir(out))
    checksums = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=out, check=False)
    assert checksums.returncode == 0
    script = out / "bootstrap.py"
    good = script.read_bytes()
    script.write_bytes(good.replace(b"import", b"IMPORT", 1))
    found = verify([out], public)
    assert [problem.file for problem in found.damaged] == [str(script)]
    assert not found.complete
    assert changed_beside([out]) == [str(script)]
    unpack([out], tmp_path / "site", public)
    with Store.open(tmp_path / "source") as store, Store.open(tmp_path / "site") as site:
        assert [ref.name for ref in site.references()] == [ref.name for ref in store.references()]
        companions = for_operator(good, VERSION)
        tool = small_tool(store, tmp_path / "wheels")
        plan = plan_bundle(store, first=[tool.reference], companions=companions)
        pack_again(plan, 1, store, out, load_private_key(keys.private))
    assert script.read_bytes() == good
    script.unlink()
    assert verify([out], public).complete


def test_an_update_leaves_out_the_tool_that_the_site_has(tmp_path: Path, keys: KeyPaths) -> None:
    with Store.create(tmp_path / "source") as store:
        fill(store)
    unpack([carried(tmp_path, keys)], tmp_path / "site")
    with Store.open(tmp_path / "site") as site:
        (tmp_path / "receipt").write_bytes(make_receipt(site))
    with Store.open(tmp_path / "source") as store:
        put_image(store, "registry.example/team/new", "1", [b"new"])
    (tmp_path / "out").rename(tmp_path / "first")
    held = held_by_all([read_receipt(tmp_path / "receipt").blobs])
    out = carried(tmp_path, keys, since=held)
    assert sum(file.stat().st_size for file in out.glob("*.isv")) < 15_000
    script: list[str | Path] = [sys.executable, "-I", "-S", out / "bootstrap.py", "--key", keys.public, "--check"]
    without = subprocess.run(script, capture_output=True, text=True, check=False)
    assert without.returncode == 3
    assert "--store" in without.stderr
    assert subprocess.run([*script, "--store", tmp_path / "site"], check=False).returncode == 0
    assert "update" in (out / "README.txt").read_text()


def test_a_site_keeps_the_newest_tool_alone(tmp_path: Path, keys: KeyPaths) -> None:
    newer = OwnWheel("isthmus-9-py3-none-any.whl", wheel("isthmus", "9", {}), "9", "")
    with Store.create(tmp_path / "source") as store:
        fill(store)
        for number, own in enumerate((small_own(), newer)):
            tool = store_tool(store, own, {HERE: []})
            plan = plan_bundle(store, first=[tool.reference])
            pack(plan, store, tmp_path / str(number))
            unpack([tmp_path / str(number)], tmp_path / "site")
            with Store.open(tmp_path / "site") as site:
                assert [ref.name for ref in site.references()] == [ref.name for ref in store.references()]
        pack(plan_bundle(store), store, tmp_path / "without")
        unpack([tmp_path / "without"], tmp_path / "site")
        with Store.open(tmp_path / "site") as site:
            assert tool.reference.name in [ref.name for ref in site.references()]


def test_pack_carries_it_unless_told_otherwise(tmp_path: Path, keys: KeyPaths) -> None:
    with Store.create(tmp_path / "store") as store:
        fill(store)
    words = ("pack", "--store", "store", "--sign", keys.private, "--json")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    failed = isthmus(*words, "--out", "out", cwd=tmp_path, **nowhere)
    assert failed.returncode == 5
    error = json.loads(failed.stdout)["error"]
    assert error["code"] == "no-tool"
    assert "--no-tool" in error["hint"]
    assert not (tmp_path / "out").exists()
    dry = isthmus(*words, "--out", "out", "--dry-run", cwd=tmp_path, **nowhere)
    assert dry.returncode == 0
    assert "would be fetched" in dry.stderr
    done = isthmus(*words, "--out", "out", "--no-tool", cwd=tmp_path, **nowhere)
    assert json.loads(done.stdout)["tool"] is None
    there = set(os.listdir(tmp_path / "out"))
    assert {"README.txt", "contents.txt", "manifest.json", "manifest.sig"} <= there
    assert "bootstrap.py" not in there


def test_isthmus_yaml_says_for_which_pythons(tmp_path: Path, keys: KeyPaths) -> None:
    """With wheels by hand: whatever Isthmus needs, made here, as small as can be."""
    with Store.create(tmp_path / "store") as store:
        fill(store)
    (tmp_path / "isthmus.yaml").write_text(
        f"site: {{tools: {{python: ['3.98'], machines: [{platform.machine()}]}}}}\n"
    )
    (tmp_path / "wheels").mkdir()
    for name in NEEDED[:-1]:
        (tmp_path / "wheels" / f"{name}-99-py3-none-any.whl").write_bytes(wheel(name, "99", {}))
    words = (
        "pack",
        "--store",
        "store",
        "--sign",
        keys.private,
        "--out",
        "out",
        "--tool-wheels",
        "wheels",
        "--json",
    )
    assert isthmus(*words, cwd=tmp_path).returncode == 5, f"{NEEDED[-1]} is not there"
    (tmp_path / "wheels" / f"{NEEDED[-1]}-99-py3-none-any.whl").write_bytes(wheel(NEEDED[-1], "99", {}))
    done = isthmus(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    digest = hashlib.sha256((tmp_path / "out" / "bootstrap.py").read_bytes()).hexdigest()
    assert json.loads(done.stdout)["tool"]["bootstrap_sha256"] == digest
    script: list[str | Path] = [sys.executable, "-I", "-S", "out/bootstrap.py", "--key", keys.public]
    refused = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "only for Python 3.98" in refused.stderr


def test_beside_an_encrypted_bundle_it_can_still_be_read(tmp_path: Path, keys: KeyPaths) -> None:
    pytest.importorskip("pyrage")
    from isthmus.bundle import generate_identity

    recipient = generate_identity(tmp_path / "age").key_id
    with Store.create(tmp_path / "store") as store:
        fill(store)
    (tmp_path / "wheels").mkdir()
    for name in NEEDED:
        (tmp_path / "wheels" / f"{name}-99-py3-none-any.whl").write_bytes(wheel(name, "99", {}))
    words = ("pack", "--store", "store", "--sign", keys.private, "--encrypt-to", recipient)
    done = isthmus(*words, "--out", "out", "--tool-wheels", "wheels", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["SHA256SUMS", "bundle-0001.isv.age", "tool"]
    script: list[str | Path] = [
        sys.executable,
        "-I",
        "-S",
        "out/tool/bootstrap.py",
        "--check",
        "--key",
        keys.public,
    ]
    assert subprocess.run(script, cwd=tmp_path, check=False).returncode == 0
    back = (
        "unpack",
        "out",
        "--store",
        "site",
        "--key",
        keys.public,
        "--identity",
        tmp_path / "age" / "isthmus.age",
    )
    assert isthmus(*back, cwd=tmp_path).returncode == 0


def test_a_stale_installation_is_noticed(tmp_path: Path) -> None:
    requires = distribution("isthmus").requires or []
    plain = [text for text in requires if "extra ==" not in text]
    extra = [text.partition(";")[0].strip() for text in requires if "extra ==" in text]

    def stale(*more: str) -> bool:
        table = f"[project.optional-dependencies]\nall = {extra!r}\n"
        project = f'[project]\nname = "isthmus"\ndependencies = {[*plain, *more]!r}\n'
        (tmp_path / "pyproject.toml").write_text(project + table)
        return is_stale(tmp_path)

    assert not is_stale(tmp_path)
    assert not stale()
    assert stale("something-new>=1")
