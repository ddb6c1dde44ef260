"""The script beside the volumes: it runs with Python alone, believes the key alone, installs what is signed."""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, load_private_key, pack, plan_bundle
from isthmus.bundle.companions import for_operator
from isthmus.bundle.tool import bootstrap_script
from isthmus.bundle.tool.bootstrap.installing import Tool, install_without_pip, unpack_wheel
from isthmus.bundle.tool.bootstrap.medium import Refused
from isthmus.bundle.tool.targets import Target
from isthmus.store import Store
from tests.bundle.conftest import fill
from tests.bundle.tool_fixture import VERSION, small_own, small_tool

Bare = Callable[..., "subprocess.CompletedProcess[str]"]


def make(place: Path, key: Path | None, padding: int = 0, limit: int | None = None, **options: object) -> Path:
    """A bundle with images and a small tool."""
    with Store.create(place / "source") as store:
        fill(store)
        tool = small_tool(store, place / "wheels", padding, **options)  # type: ignore[arg-type]
        plan = plan_bundle(
            store, None, limit, first=[tool.reference], companions=for_operator(tool.bootstrap, VERSION)
        )
        pack(plan, store, place / "out", load_private_key(key) if key else None)
    return place / "out"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Path:
    return make(tmp_path_factory.mktemp("carried"), keys.private)


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """Run a script with an interpreter that has no site-packages, in an empty directory."""

    def run(script: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-I", "-S", str(script), *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_it_needs_the_standard_library_alone_and_old_pythons_can_read_it() -> None:
    tree = ast.parse(bootstrap_script(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)
    assert bootstrap_script() == bootstrap_script()


def test_an_older_python_is_told_so(tmp_path: Path) -> None:
    script = bootstrap_script().decode()
    assert "sys.version_info < (3, 11)" in script
    old = tmp_path / "old.py"
    old.write_text(script.replace("sys.version_info", "(3, 8, 1)", 2))
    done = subprocess.run([sys.executable, "-I", old], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Isthmus needs Python 3.11 or newer; this is 3.8\n")


def test_it_installs_and_the_program_runs(out: Path, keys: KeyPaths, bare: Bare, tmp_path: Path) -> None:
    done = bare(out / "bootstrap.py", "--key", keys.public, "--venv", "tool")
    assert done.returncode == 0, done.stderr
    assert "signature verified" in done.stdout
    said = subprocess.run(
        [tmp_path / "tool/bin/isthmus"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout == f"isthmus, version {VERSION}\n"
    again = bare(out / "bootstrap.py", "--key", keys.public, "--venv", "tool")
    assert again.returncode == 0, again.stderr
    assert "already" in again.stdout


def test_without_pip_the_wheels_are_unpacked(tmp_path: Path) -> None:
    with Store.create(tmp_path / "source") as store:
        small_tool(store, tmp_path / "wheels")
    wheels = [tmp_path / "wheels" / "needed-1-py3-none-any.whl", tmp_path / "wheels" / small_own().file_name]
    wheels[1].write_bytes(small_own().data)
    target = tmp_path / "with space" / "tool"
    target.mkdir(parents=True)
    install_without_pip(Tool(VERSION, "", wheels), target, target / "bin" / "isthmus")
    said = subprocess.run([target / "bin/isthmus"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == f"isthmus, version {VERSION}\n"


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py", "a\\..\\outside.py"])
def test_a_wheel_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    bad = tmp_path / "bad-1-py3-none-any.whl"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(Refused) as refused:
        unpack_wheel(bad, tmp_path / "packages")
    assert refused.value.status == 4
    assert not list(tmp_path.rglob("outside.py"))


@pytest.mark.parametrize("name", ["isthmus.pub", "missing.pub", "not-a-key"])
def test_no_key_wrong_key_no_such_key(
    out: Path, other_keys: KeyPaths, bare: Bare, tmp_path: Path, name: str
) -> None:
    (tmp_path / "isthmus.pub").write_bytes(other_keys.public.read_bytes())
    (tmp_path / "not-a-key").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    before = sorted(os.listdir(tmp_path))
    done = bare(out / "bootstrap.py", "--key", name, "--venv", "tool")
    assert done.returncode == {"isthmus.pub": 4, "missing.pub": 5, "not-a-key": 2}[name], done.stderr
    assert sorted(os.listdir(tmp_path)) == before
    without = bare(out / "bootstrap.py")
    assert without.returncode == 2
    assert "--key" in without.stderr


def test_an_unsigned_bundle_is_refused(keys: KeyPaths, bare: Bare, tmp_path: Path) -> None:
    out = make(tmp_path / "unsigned", None)
    assert bare(out / "bootstrap.py", "--key", keys.public).returncode == 4


def test_so_many_of_the_keys_must_have_signed(out: Path, keys: KeyPaths, other_keys: KeyPaths, bare: Bare) -> None:
    both = ("--key", keys.public, "--key", other_keys.public)
    assert bare(out / "bootstrap.py", "--check", *both).returncode == 0
    assert bare(out / "bootstrap.py", "--check", *both, "--threshold", "2").returncode == 4
    twice = ("--key", keys.public, "--key", keys.public, "--threshold", "2")
    assert bare(out / "bootstrap.py", "--check", *twice).returncode == 4


def test_every_changed_byte_of_the_tool_is_noticed(out: Path, keys: KeyPaths, bare: Bare, tmp_path: Path) -> None:
    media = tmp_path / "media"
    shutil.copytree(out, media)
    volume = media / "bundle-0001.isv"
    data = volume.read_bytes()
    wheel = data.index(b"needed.py")
    manifest = data.index(b'"format":"isthmus-bundle"')
    for place, status in ((wheel, 4), (manifest, 4), (100, 4), (0, 4)):
        volume.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        done = bare(media / "bootstrap.py", "--key", keys.public, "--venv", "tool")
        assert done.returncode == status, (place, done.stderr)
        assert not (tmp_path / "tool").exists()
        assert not (tmp_path / "ran").exists()
    volume.write_bytes(data[: wheel - 5])
    assert bare(media / "bootstrap.py", "--key", keys.public).returncode == 4


def test_over_several_discs(keys: KeyPaths, bare: Bare, tmp_path: Path) -> None:
    out = make(tmp_path / "several", keys.private, padding=200_000, limit=150_000)
    discs = [tmp_path / f"disc{number}" for number in range(3)]
    for disc, volume in zip(discs, sorted(out.glob("*.isv")), strict=False):
        disc.mkdir()
        shutil.copy(volume, disc)
    shutil.copy(out / "bootstrap.py", discs[0])
    first = bare(discs[0] / "bootstrap.py", "--key", keys.public, "--check")
    assert first.returncode == 3
    assert "volume 2 is needed" in first.stderr
    assert bare(discs[0] / "bootstrap.py", "--key", keys.public, "--check", *discs).returncode == 0
    spoiled = discs[2] / "bundle-0003.isv"
    spoiled.write_bytes(b"nothing")
    done = bare(discs[0] / "bootstrap.py", "--key", keys.public, "--check", *discs)
    assert (done.returncode == 0) == ("volume 3" not in done.stderr)
    assert "Left out" in done.stdout


def test_the_first_disc_has_room_for_what_lies_beside(keys: KeyPaths, tmp_path: Path) -> None:
    limit = 200_000
    out = make(tmp_path / "fits", keys.private, limit=limit)
    volumes = sorted(out.glob("*.isv"))
    beside = sum(file.stat().st_size for file in out.iterdir() if file.suffix != ".isv")
    assert len(volumes) > 2
    assert limit - 200 < volumes[0].stat().st_size + beside <= limit
    assert volumes[1].stat().st_size == limit


def test_another_python_or_machine_is_told_what_there_is(keys: KeyPaths, bare: Bare, tmp_path: Path) -> None:
    out = make(tmp_path / "elsewhere", keys.private, targets=(Target("3.99", "riscv64"),))
    done = bare(out / "bootstrap.py", "--key", keys.public)
    assert done.returncode == 3
    assert "only for Python 3.99 on riscv64" in done.stderr


def test_what_is_there_already_is_not_touched(out: Path, keys: KeyPaths, bare: Bare, tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "precious").write_text("x")
    done = bare(out / "bootstrap.py", "--key", keys.public, "--venv", "tool")
    assert done.returncode == 2
    assert os.listdir(tmp_path / "tool") == ["precious"]


def test_a_site_with_a_policy_gives_its_trust(
    out: Path, keys: KeyPaths, other_keys: KeyPaths, bare: Bare, tmp_path: Path
) -> None:
    from isthmus.bundle import load_public_key

    trust = tmp_path / "store.trust.json"

    def pinned(key: Path, taken: dict[str, object]) -> None:
        policy = {"keys": [load_public_key(key).raw.hex()], "threshold": 1}
        trust.write_text(json.dumps({"format": "isthmus-trust", "version": 1, "policy": policy, "taken": taken}))

    pinned(keys.public, {})
    assert bare(out / "bootstrap.py", "--trust", trust, "--check").returncode == 0
    pinned(keys.public, {"bundle": {"sequence": 3, "bundle": "0" * 64}})
    older = bare(out / "bootstrap.py", "--trust", trust, "--check")
    assert older.returncode == 4
    assert "older than number 3" in older.stderr
    pinned(other_keys.public, {})
    assert bare(out / "bootstrap.py", "--trust", trust, "--check").returncode == 4
    trust.write_text("{}")
    assert bare(out / "bootstrap.py", "--trust", trust, "--check").returncode == 2


def test_pipes_devices_and_links_to_them_do_not_stop_it(
    out: Path, keys: KeyPaths, bare: Bare, tmp_path: Path
) -> None:
    media = tmp_path / "media"
    shutil.copytree(out, media)
    os.mkfifo(media / "aaa.isv")
    os.symlink("/dev/zero", media / "bbb.isv")
    done = bare(media / "bootstrap.py", "--key", keys.public, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Left out") == 2
