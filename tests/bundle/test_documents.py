"""The lock and the release document cross with the bundle, and are taken only as they were packed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, unpack
from isthmus.cli.main import run
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Digest
from isthmus.store import Store
from tests.bundle.conftest import fill


def packed(place: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    """A bundle of volumes that fit, with the lock of a working directory."""
    place.mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    with Store.create("store") as store:
        fill(store)
        entries = [
            LockEntry("image", held.name, held.descriptor.digest, held.descriptor.media_type)
            for held in store.references()
        ]
    write_lock("isthmus.lock", Lock(references=tuple(entries)))
    words = ["pack", "--store", "store", "--lock", "isthmus.lock", "--no-tool", "--sign", str(keys.private)]
    assert run([*words, "--sbom", "none", "--out", "out", "--volume-size", "120kB", *options]) == 0
    return place / "out"


def test_they_cross(
    tmp_path: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = packed(tmp_path, keys, monkeypatch)
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert "isthmus.lock" in {name for name, *_ in manifest["beside"]}
    first = sum(path.stat().st_size for path in out.iterdir() if path.name.split(".")[0] != "release")
    first -= sum(len(line) + 1 for line in (out / "SHA256SUMS").read_text().splitlines() if "  release." in line)
    assert first - sum(v["size"] for v in manifest["volumes"][1:]) <= 120_000
    assert run(["verify", "out", "--key", str(keys.public)]) == 0
    capsys.readouterr()
    assert run(["unpack", "out", "--store", "site", "--key", str(keys.public), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["reports"]
    site = tmp_path / "site"
    short = reports[0].partition("reports/")[2].partition("-")[0]
    assert (site / "isthmus.lock").read_bytes() == (tmp_path / "isthmus.lock").read_bytes()
    names = {path.name.removeprefix(f"{short}-") for path in (site / "reports").iterdir()}
    assert names == {"isthmus.lock", "release.json", "release.csv", "release.html", "release.sig"}
    for name in names - {"isthmus.lock"}:
        assert (site / "reports" / f"{short}-{name}").read_bytes() == (out / name).read_bytes()


def test_the_lock_waits_for_the_last_volume(
    tmp_path: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = packed(tmp_path, keys, monkeypatch)
    volumes = sorted(out.glob("*.isv"))
    assert len(volumes) > 1
    for volume in volumes:
        disc = tmp_path / "disc"
        disc.mkdir()
        volume.rename(disc / volume.name)
        if volume == volumes[0]:
            (out / "isthmus.lock").rename(disc / "isthmus.lock")
        run(["unpack", str(disc), "--store", "site", "--key", str(keys.public), "--json"])
        assert (tmp_path / "site" / "isthmus.lock").exists() == (volume == volumes[-1])
        disc.rename(tmp_path / f"done-{volume.name}")


def test_others_are_not_taken(
    tmp_path: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = packed(tmp_path, keys, monkeypatch)
    (out / "isthmus.lock").write_bytes(b"version: 1\n")
    (out / "release.csv").write_bytes(b"nothing crosses\n")
    assert run(["verify", "out"]) == 4
    capsys.readouterr()
    assert run(["unpack", "out", "--store", "site", "--key", str(keys.public)]) == 0
    said = capsys.readouterr().err
    assert "isthmus.lock is not the file that was packed" in said
    assert "release.json is not taken" in said
    assert not (tmp_path / "site" / "isthmus.lock").exists()
    assert not (tmp_path / "site" / "reports").exists()


def test_a_lock_of_other_things_stays_here(
    tmp_path: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = packed(tmp_path, keys, monkeypatch)
    digest = LockEntry("image", "a.example/other:1", "sha256:" + "0" * 64)  # type: ignore[arg-type]
    write_lock(tmp_path / "isthmus.lock", Lock(references=(digest,)))
    words = ["pack", "--store", "store", "--no-tool", "--no-release", "--out", "all"]
    assert run(words) == 0
    assert not (tmp_path / "all" / "isthmus.lock").exists()
    unpack([tmp_path / "all"], tmp_path / "site")
    assert (out / "isthmus.lock").exists()


@pytest.mark.parametrize("form", ["stream", "encrypted", "encrypted stream"])
def test_it_crosses_where_nothing_lies_beside(
    form: str, tmp_path: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(tmp_path, keys, monkeypatch)
    lock = (tmp_path / "isthmus.lock").read_bytes()
    words = [sys.executable, "-m", "isthmus", "pack", "--store", "store", "--no-tool", "--sign", str(keys.private)]
    opening: list[str] = []
    if form != "stream":
        pytest.importorskip("pyrage")
        from isthmus.bundle.encryption import new_identity

        identity, public = new_identity()
        (tmp_path / "id").write_text(identity)
        words, opening = [*words, "--encrypt-to", public], ["--identity", "id"]
    target = "sealed" if form == "encrypted" else "-"
    sent = subprocess.run(
        [*words, "--volume-size", "120kB", "--out", target], check=True, capture_output=True, timeout=60
    )
    (tmp_path / "stream").write_bytes(sent.stdout)
    taking = [sys.executable, "-m", "isthmus", "unpack", target, "--store", "site", "--key", str(keys.public)]
    for _ in range(2):  # once more changes nothing
        subprocess.run(
            [*taking, *opening, "--require-signed-by", f"{keys.public}=*nothing*"],
            check=True, input=sent.stdout, capture_output=True, timeout=60,
        )  # fmt: skip
        assert (tmp_path / "site" / "isthmus.lock").read_bytes() == lock
    with Store.open("site") as site, Store.open("store") as store:
        assert site.references() == store.references()
        assert site.blob_size(Digest.of(lock)) is None
    assert len(list((tmp_path / "site" / "reports").iterdir())) == 1
    if form == "stream":
        again = subprocess.run(
            [*words, "--volume-size", "120kB", "--out", "-"], check=True, capture_output=True, timeout=60
        )
        assert again.stdout == sent.stdout


def test_receive_takes_them_too_and_when_they_come_later(
    tmp_path: Path, keys: KeyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = packed(tmp_path, keys, monkeypatch)
    late = tmp_path / "late"
    late.mkdir()
    for name in ("release.json", "release.csv", "release.html", "release.sig"):
        (out / name).rename(late / name)
    words = ["receive", "out", "--store", "site", "--key", str(keys.public), "--once", "--settle", "0s"]
    assert run(words) == 0
    site = tmp_path / "site"
    assert (site / "isthmus.lock").read_bytes() == (tmp_path / "isthmus.lock").read_bytes()
    assert not list((site / "reports").glob("*-release.*"))
    (out / "release.json").write_bytes((late / "release.json").read_bytes()[:-10])  # it is still arriving
    assert run(words) == 0
    assert not list((site / "reports").glob("*-release.*"))
    for path in late.iterdir():
        path.rename(out / path.name)
    assert run(words) == 0
    assert "unpacked" not in capsys.readouterr().err
    taken = {path.name.partition("-")[2]: path.read_bytes() for path in (site / "reports").glob("*-release.*")}
    assert taken == {path.name: path.read_bytes() for path in out.glob("release.*")}
