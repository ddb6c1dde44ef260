"""`pack --dry-run` names the bytes that the same command writes then, and writes nothing itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths
from isthmus.cli.main import run
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.store import Store
from tests.bundle.conftest import fill, tree
from tests.bundle.test_tool import NEEDED
from tests.bundle.tool_fixture import wheel


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a lock of all that it has, and wheels as small as can be."""
    place = tmp_path_factory.mktemp("dry")
    with Store.create(place / "store") as store:
        fill(store)
        entries = [
            LockEntry("image", held.name, held.descriptor.digest, held.descriptor.media_type)
            for held in store.references()
        ]
    write_lock(place / "isthmus.lock", Lock(references=tuple(entries)))
    (place / "wheels").mkdir()
    for name in NEEDED:
        (place / "wheels" / f"{name}-99-py3-none-any.whl").write_bytes(wheel(name, "99", {}))
    return place


WORDS = ["pack", "--store", "store", "--lock", "isthmus.lock"]


def streamed(place: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "isthmus", *WORDS, *words]
    return subprocess.run(command, cwd=place, capture_output=True, check=True, timeout=120).stdout


FORMS = {
    "volumes": ["--out", "volumes", "--volume-size", "150kB", "--parity", "20"],
    "one volume": ["--out", "one"],
    "stream": ["--out", "-", "--volume-size", "150kB"],
    "encrypted": ["--out", "sealed", "--volume-size", "150kB", "--encrypt-to", "TO"],
    "encrypted stream": ["--out", "-", "--encrypt-to", "TO", "--encrypt-to", "TO2"],
}


@pytest.mark.parametrize(
    ("form", "tool"),
    # The tool is carried in one of three ways; packing it takes seconds.
    [*((form, False) for form in FORMS), *((form, True) for form in ("volumes", "stream", "encrypted"))],
)
def test_it_is_what_is_written(
    form: str,
    tool: bool,
    place: Path,
    keys: KeyPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    sealed = "encrypted" in form
    words = [*FORMS[form], "--sign", str(keys.private), "--no-release"]
    if sealed:
        pytest.importorskip("pyrage")
        from isthmus.bundle.encryption import new_identity

        to = {"TO": new_identity()[1], "TO2": new_identity()[1]}
        words = [to.get(word, word) for word in words]
    out = tmp_path / "out"
    words = [str(out) if word in ("volumes", "one", "sealed") else word for word in words]
    words += ["--tool-wheels", "wheels"] if tool else ["--no-tool"]
    if tool:
        assert run([*WORDS, "--out", str(tmp_path / "before"), "--tool-wheels", "wheels", "--no-release"]) == 0
        capsys.readouterr()
    before = tree(place / "store")
    assert run([*WORDS, *words, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not out.exists()
    assert tree(place / "store") == before
    if "stream" in form:
        found = len(streamed(place, *words))
    else:
        assert run([*WORDS, *words]) == 0
        found = sum(path.stat().st_size for path in [*out.glob("*.isv"), *out.glob("*.isv.age")])
        assert len(list(out.glob("*.isv*"))) == said["volumes"]
    if not sealed:
        assert (said["bytes"], said["least_bytes"]) == (found, found)
    else:
        assert said["least_bytes"] <= found <= said["bytes"]
        files = 1 if "stream" in form else said["volumes"]
        assert said["bytes"] - said["least_bytes"] == 177 * files
    tool_files = list((out / "tool").glob("*.isv"))
    assert sum(path.stat().st_size for path in tool_files) == said["tool_bytes"]
    assert bool(tool_files) == (tool and form == "encrypted")
    if "stream" not in form and not sealed:
        assert json.loads((out / "manifest.json").read_bytes())["name"] == "bundle"


def test_the_lock_counts(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    sizes = []
    for asked in (["--lock", "isthmus.lock"], []):  # without it, what is in the working directory crosses
        assert run(["pack", "--store", "store", *asked, "--no-tool", "--out", "-", "--dry-run", "--json"]) == 0
        sizes.append(json.loads(capsys.readouterr().out)["bytes"])
    Path("isthmus.lock").rename("away.lock")
    assert run(["pack", "--store", "store", "--no-tool", "--out", "-", "--dry-run", "--json"]) == 0
    without = json.loads(capsys.readouterr().out)["bytes"]
    Path("away.lock").rename("isthmus.lock")
    assert sizes[0] == sizes[1] > without + Path("isthmus.lock").stat().st_size
    assert run(["pack", "--store", "store", "--no-tool", "--out", "-", "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""  # that is where the bundle would go
    assert f"({sizes[0]} bytes)" in captured.err


@pytest.fixture(scope="module")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("ssh")
    for kind in ("ed25519", "rsa"):
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(place / kind)]
        subprocess.run(command, check=True, timeout=60)
    return [" ".join(path.read_text().split()[:2]) for path in sorted(place.glob("*.pub"))]


@pytest.mark.parametrize("kinds", ["x25519", "ssh", "both"])
def test_sizes_of_encrypted_files(kinds: str, ssh_keys: list[str]) -> None:
    pyrage = pytest.importorskip("pyrage")
    from isthmus.bundle.encryption import new_identity, recipient, sealed_size

    texts = {"x25519": [new_identity()[1]], "ssh": ssh_keys, "both": [new_identity()[1], *ssh_keys]}[kinds]
    to = [recipient(text) for text in texts]
    for size in (0, 1, 65535, 65536, 65537, 200_000):
        for _ in range(20):
            least, most = sealed_size(size, to)
            assert least <= len(pyrage.encrypt(b"x" * size, to)) <= most
            assert most - least == 177
