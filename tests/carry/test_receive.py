"""An incoming directory: late volumes, damage, several bundles, a second run, a second watcher."""

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, generate_keys, load_public_key
from isthmus.bundle.locking import exclusive
from isthmus.carry.inbox.look import Settings, Sweep
from isthmus.carry.inbox.watching import sweep, watch
from isthmus.cli.main import run
from isthmus.errors import UsageError
from isthmus.store import Store
from tests.bundle.conftest import Bundle, tree


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPaths:
    return generate_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Bundle:
    return Bundle(tmp_path_factory.mktemp("one"), 200_000, 1, keys)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, keys: KeyPaths) -> Bundle:
    return Bundle(tmp_path_factory.mktemp("two"), None, 2, keys)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def settings(tmp_path: Path, keys: KeyPaths) -> Settings:
    return Settings(tmp_path / "store", (load_public_key(keys.public),), settle=0)


def test_volumes_come_one_after_the_other(tmp_path: Path, inbox: Path, bundle: Bundle, keys: KeyPaths) -> None:
    asked = settings(tmp_path, keys)
    assert sweep(inbox, asked) == Sweep()
    for place, volume in enumerate(reversed(bundle.volumes)):
        found = sweep(inbox, asked)
        assert not found.taken
        if place:
            missing = found.incomplete[0].missing
            assert list(missing) == sorted(v.name for v in bundle.volumes[: len(bundle.volumes) - place])
        shutil.copy(volume, inbox)
    found = sweep(inbox, asked)
    assert [one.name for one in found.taken] == ["bundle"]
    assert not found.incomplete
    assert tree(tmp_path / "store") == bundle.tree
    again = sweep(inbox, asked)
    assert again.known == [found.taken[0].bundle]
    assert not again.taken
    (inbox / ".isthmus-receive.json").write_text("{spoiled")
    assert len(sweep(inbox, asked).taken) == 1
    assert tree(tmp_path / "store") == bundle.tree


def test_what_was_taken_is_removed_when_asked(tmp_path: Path, inbox: Path, bundle: Bundle, keys: KeyPaths) -> None:
    asked = replace(settings(tmp_path, keys), remove_taken=True)
    (inbox / "notes.txt").write_text("stays")
    for volume in bundle.volumes[1:]:
        shutil.copy(volume, inbox)
    assert sweep(inbox, asked).incomplete
    assert len(list(inbox.glob("*.isv"))) == len(bundle.volumes) - 1
    shutil.copy(bundle.volumes[0], inbox)
    assert sweep(inbox, asked).taken
    assert tree(tmp_path / "store") == bundle.tree
    assert not list(inbox.glob("*.isv"))


def test_two_bundles_and_damage(
    tmp_path: Path, inbox: Path, bundle: Bundle, other: Bundle, keys: KeyPaths
) -> None:
    asked = settings(tmp_path, keys)
    (inbox / "second").mkdir()
    for volume in bundle.volumes:
        shutil.copy(volume, inbox)
    shutil.copy(other.volumes[0], inbox / "second")
    (inbox / "junk.isv").write_bytes(b"junk" * 1000)
    (inbox / "notes.txt").write_bytes(b"not a volume")
    spoiled = inbox / bundle.volumes[1].name
    data = bytearray(spoiled.read_bytes())
    data[len(data) // 2] ^= 1
    spoiled.write_bytes(data)
    found = sweep(inbox, asked)
    assert {one.file for one in found.quarantined} == {"junk.isv", spoiled.name}
    assert (inbox / "quarantine" / f"{spoiled.name}.why.txt").read_text().startswith("damaged-volume")
    assert found.incomplete[0].missing == (spoiled.name,)
    assert len(found.taken) == 1
    assert tree(tmp_path / "store") == other.tree
    shutil.copy(bundle.volumes[1], inbox)
    assert len(sweep(inbox, asked).taken) == 1
    with Store.open(tmp_path / "store") as store:
        assert store.references()


def test_a_wrong_signature_is_quarantined(tmp_path: Path, inbox: Path, other: Bundle) -> None:
    strangers = generate_keys(tmp_path / "strangers")
    shutil.copy(other.volumes[0], inbox)
    found = sweep(inbox, settings(tmp_path, strangers))
    assert [one.code for one in found.quarantined] == ["bad-signature"]
    assert not (tmp_path / "store").exists()
    shutil.copy(other.volumes[0], inbox)
    assert sweep(inbox, settings(tmp_path, strangers)).quarantined
    assert len(list((inbox / "quarantine").glob("*.isv"))) == 2


def test_links_and_fresh_files_are_left_alone(tmp_path: Path, inbox: Path, other: Bundle, keys: KeyPaths) -> None:
    (inbox / "link.isv").symlink_to(other.volumes[0])
    (inbox / "away").symlink_to(other.out)
    assert sweep(inbox, settings(tmp_path, keys)) == Sweep()
    shutil.copy(other.volumes[0], inbox)
    fresh = Settings(tmp_path / "store", (load_public_key(keys.public),), settle=30)
    assert sweep(inbox, fresh).unsettled == [other.volumes[0].name]


def test_one_watcher_at_a_time(tmp_path: Path, inbox: Path, keys: KeyPaths) -> None:
    with exclusive(inbox, "held", ".isthmus-receive.lock"), pytest.raises(UsageError, match="another process"):
        sweep(inbox, settings(tmp_path, keys))
    with pytest.raises(UsageError, match="no such directory"):
        sweep(tmp_path / "none", settings(tmp_path, keys))


def test_watching_takes_what_arrives(tmp_path: Path, inbox: Path, other: Bundle, keys: KeyPaths) -> None:
    stop, seen = threading.Event(), []

    def tell(found: Sweep) -> None:
        seen.extend(found.taken)
        if seen:
            stop.set()

    arrive = threading.Timer(0.3, lambda: shutil.copy(other.volumes[0], inbox))
    arrive.start()
    asked = Settings(tmp_path / "store", (load_public_key(keys.public),), settle=0.3)
    started = time.monotonic()
    watch(inbox, asked, tell, every=0.1, stop=stop)
    arrive.join()
    assert time.monotonic() - started < 30
    assert tree(tmp_path / "store") == other.tree


def test_the_command(
    tmp_path: Path, inbox: Path, bundle: Bundle, keys: KeyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "receive",
        str(inbox),
        "--store",
        str(tmp_path / "store"),
        "--key",
        str(keys.public),
        "--once",
        "--json",
    ]
    shutil.copy(bundle.volumes[0], inbox)
    assert run([*words, "--settle", "0.1s"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["incomplete"][0]["missing"] == [volume.name for volume in bundle.volumes[1:]]
    for volume in bundle.volumes[1:]:
        shutil.copy(volume, inbox)
    assert run([*words, "--settle", "0.1s"]) == 0
    assert len(json.loads(capsys.readouterr().out)["unpacked"]) == 1
    assert run([*words, "--settle", "0.1s"]) == 0
    assert len(json.loads(capsys.readouterr().out)["known"]) == 1
    assert run(["receive", str(inbox), str(inbox)]) == 2
