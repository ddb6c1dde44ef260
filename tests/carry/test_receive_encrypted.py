"""An incoming directory with encrypted volumes: late ones, damage, other identities, a second look."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from isthmus.bundle import (
    KeyPaths,
    generate_keys,
    load_private_key,
    load_public_key,
    pack_encrypted,
    plan_bundle,
)
from isthmus.bundle.encryption import identities, new_identity, plain_size, recipient
from isthmus.bundle.policy import Policy
from isthmus.carry.inbox.look import Settings, Sweep
from isthmus.carry.inbox.watching import sweep
from isthmus.cli.main import run
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.store import Store
from tests.bundle.conftest import fill, tree

pytest.importorskip("pyrage")


class Sealed(NamedTuple):
    volumes: list[Path]
    tree: dict[str, str]


class Crossing(NamedTuple):
    keys: KeyPaths
    identity: Path
    one: Sealed
    two: Sealed
    parity: Sealed
    """For somebody else as well."""
    stranger: Path


def seal(place: Path, seed: int, limit: int | None, keys: KeyPaths, to: list[str], parity: float = 0) -> Sealed:
    with Store.create(place / "source") as store:
        fill(store, seed)
        plan = plan_bundle(store, volume_size=limit and plain_size(limit, len(to)), name=f"b{seed}", parity=parity)
        sealed = [recipient(text) for text in to]
        result = pack_encrypted(plan, store, place / "out", sealed, load_private_key(keys.private))
    return Sealed([place / "out" / volume.file for volume in result.volumes], tree(place / "source"))


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    place = tmp_path_factory.mktemp("sealed")
    keys = generate_keys(place / "keys")
    secret, public = new_identity()
    other_secret, other_public = new_identity()
    (place / "identity").write_text(f"# public key: {public}\n{secret}\n")
    (place / "stranger").write_text(other_secret)
    return Crossing(
        keys,
        place / "identity",
        seal(place / "one", 1, 200_000, keys, [public]),
        seal(place / "two", 2, None, keys, [public]),
        seal(place / "three", 3, 200_000, keys, [public, other_public], 40),
        place / "stranger",
    )


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def asking(tmp_path: Path, crossing: Crossing, *, identity: Path | None = None) -> Settings:
    opens = tuple(identities(identity or crossing.identity))
    return Settings(tmp_path / "store", (load_public_key(crossing.keys.public),), settle=0, identities=opens)


def names(sealed: Sealed) -> list[str]:
    return [path.name for path in sealed.volumes]


def bring(sealed: Sealed, place: Path) -> None:
    place.mkdir(exist_ok=True)
    for volume in sealed.volumes:
        shutil.copy(volume, place)


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def spoil_recipient(path: Path) -> None:
    """Change a character of the stanza for a recipient, which still reads as one."""
    data = bytearray(path.read_bytes())
    at = data.index(b"-> X25519 ") + 15
    data[at : at + 1] = b"A" if data[at : at + 1] == b"B" else b"B"
    path.write_bytes(data)


def test_volumes_come_one_after_the_other(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    asked, one = asking(tmp_path, crossing), crossing.one
    assert len(one.volumes) > 2
    for place, volume in enumerate(reversed(one.volumes)):
        found = sweep(inbox, asked)
        assert not found.taken
        if place:
            assert (found.incomplete[0].name, found.incomplete[0].why) == ("b1", "")
            assert list(found.incomplete[0].missing) == names(one)[: len(one.volumes) - place]
        shutil.copy(volume, inbox)
    assert not (tmp_path / "store").exists()
    found = sweep(inbox, asked)
    assert [(each.name, sorted(each.files)) for each in found.taken] == [("b1", names(one))]
    assert tree(tmp_path / "store") == one.tree


def test_a_second_look_opens_nothing(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    asked = asking(tmp_path, crossing)
    bring(crossing.one, inbox)
    taken = sweep(inbox, asked).taken
    for opens in (asked.identities, asking(tmp_path, crossing, identity=crossing.stranger).identities, ()):
        assert sweep(inbox, replace(asked, identities=opens)) == Sweep(known=[taken[0].bundle])
    assert sweep(inbox, replace(asked, store=tmp_path / "other", identities=())).incomplete
    (inbox / ".isthmus-receive.json").unlink()
    assert sweep(inbox, asked).taken
    assert tree(tmp_path / "store") == crossing.one.tree


def test_two_bundles_in_two_directories(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    asked = replace(asking(tmp_path, crossing), remove_taken=True)
    bring(crossing.two, inbox / "second")
    bring(crossing.one, inbox / "first")
    (inbox / "first" / "bundle-0002.isv.age").rename(inbox / "late")
    found = sweep(inbox, asked)
    assert [one.name for one in found.taken] == ["b2"]
    assert [one.missing for one in found.incomplete] == [("bundle-0002.isv.age",)]
    assert tree(tmp_path / "store") == crossing.two.tree
    (inbox / "late").rename(inbox / "bundle-0002.isv.age")  # of another disc
    found = sweep(inbox, asked)
    assert [one.name for one in found.taken] == ["b1"]
    assert not list(inbox.rglob("*.age"))


@pytest.mark.parametrize("at", [3, 100_000])
def test_damage_is_quarantined_and_the_volume_may_come_again(
    at: int, tmp_path: Path, inbox: Path, crossing: Crossing
) -> None:
    asked = asking(tmp_path, crossing)
    bring(crossing.one, inbox)
    spoil(inbox / names(crossing.one)[1], at)
    found = sweep(inbox, asked)
    assert [(one.file, one.code) for one in found.quarantined] == [(names(crossing.one)[1], "damaged-volume")]
    assert found.incomplete[0].missing == (names(crossing.one)[1],)
    assert (inbox / "quarantine" / f"{names(crossing.one)[1]}.why.txt").read_text().startswith("damaged-volume")
    assert not (tmp_path / "store").exists()
    shutil.copy(crossing.one.volumes[1], inbox)
    assert sweep(inbox, asked).taken
    assert tree(tmp_path / "store") == crossing.one.tree


@pytest.mark.parametrize("at", [3, 100_000, None])
def test_parity_makes_up_for_damage_and_loss(
    at: int | None, tmp_path: Path, inbox: Path, crossing: Crossing
) -> None:
    asked, sealed = asking(tmp_path, crossing), crossing.parity
    bring(sealed, inbox)
    if at is None:
        (inbox / names(sealed)[1]).unlink()
    else:
        spoil(inbox / names(sealed)[1], at)
    found = sweep(inbox, asked)
    assert ([one.name for one in found.taken], found.quarantined, found.incomplete) == (["b3"], [], [])
    assert tree(tmp_path / "store") == sealed.tree
    assert sweep(inbox, asked).known
    for volume in names(sealed)[:4]:
        (inbox / volume).unlink(missing_ok=True)
    lost = sweep(inbox, replace(asked, store=tmp_path / "other"))
    assert set(names(sealed)[:4]) <= set(lost.incomplete[0].missing)


def test_only_verified_without_a_store(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    asked = replace(asking(tmp_path, crossing), store=None)
    bring(crossing.parity, inbox)
    (inbox / names(crossing.parity)[0]).unlink()
    bring(crossing.one, inbox / "other")
    spoil(inbox / "other" / names(crossing.one)[2], 90_000)
    found = sweep(inbox, asked)
    assert [(one.name, one.store) for one in found.taken] == [("b3", "")]
    assert [one.file for one in found.quarantined] == [f"other/{names(crossing.one)[2]}"]


def test_another_identity_is_no_damage(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    wrong = asking(tmp_path, crossing, identity=crossing.stranger)
    bring(crossing.one, inbox / "first")
    bring(crossing.two, inbox)
    for _ in range(2):
        found = sweep(inbox, wrong)
        assert [(one.bundle, one.name) for one in found.incomplete] == [("", "bundle"), ("", "first/bundle")]
        assert all("encrypted to another identity than was given" in one.why for one in found.incomplete)
        assert not found.quarantined
    assert len(list(inbox.rglob("*.age"))) == len(crossing.one.volumes) + 1
    both = replace(wrong, identities=(*wrong.identities, *identities(crossing.identity)))
    assert {one.name for one in sweep(inbox, both).taken} == {"b1", "b2"}


def test_the_identity_changes_while_it_waits(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    asked = asking(tmp_path, crossing)
    bring(crossing.one, inbox)
    (inbox / names(crossing.one)[0]).unlink()
    assert sweep(inbox, asked).incomplete
    shutil.copy(crossing.one.volumes[0], inbox)
    found = sweep(inbox, asking(tmp_path, crossing, identity=crossing.stranger))
    assert not found.quarantined
    assert ["another identity" in one.why for one in found.incomplete] == [True]
    assert sweep(inbox, asked).taken


def test_a_volume_for_somebody_else_among_the_others(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    bring(crossing.one, inbox)
    spoil_recipient(inbox / names(crossing.one)[1])  # age finds no key then, as with another identity
    found = sweep(inbox, asking(tmp_path, crossing))
    assert not found.quarantined
    assert found.incomplete[0].missing == (names(crossing.one)[1],)
    assert "or its beginning is damaged" in found.incomplete[0].why


def test_what_is_no_volume(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    import pyrage

    (inbox / "junk.isv.age").write_bytes(b"junk" * 1000)
    (inbox / "empty.isv.age").write_bytes(b"")
    opens = identities(crossing.identity)[0].to_public()
    (inbox / "letter.isv.age").write_bytes(pyrage.encrypt(b"Dear reader" * 1000, [opens]))
    (inbox / "link.isv.age").symlink_to(crossing.two.volumes[0])
    found = sweep(inbox, asking(tmp_path, crossing))
    assert sorted(one.file for one in found.quarantined) == ["empty.isv.age", "junk.isv.age", "letter.isv.age"]
    assert not found.incomplete
    bring(crossing.two, inbox)
    fresh = replace(asking(tmp_path, crossing), settle=30)
    assert sweep(inbox, fresh).unsettled == names(crossing.two)


def test_a_wrong_signature_and_a_policy(tmp_path: Path, inbox: Path, crossing: Crossing) -> None:
    strangers = generate_keys(tmp_path / "strangers")
    bring(crossing.one, inbox)
    asked = replace(asking(tmp_path, crossing), keys=(load_public_key(strangers.public),))
    found = sweep(inbox, asked)
    assert {one.code for one in found.quarantined} == {"bad-signature"}
    assert {one.file for one in found.quarantined} == set(names(crossing.one))
    bring(crossing.one, inbox)
    asked = replace(asked, keys=(), policy=Policy(keys=(load_public_key(strangers.public).raw.hex(),)))
    assert {one.code for one in sweep(inbox, asked).quarantined} == {"bad-signature"}
    assert not (tmp_path / "store").exists()


def test_the_command(tmp_path: Path, inbox: Path, crossing: Crossing, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["receive", str(inbox), "--store", str(tmp_path / "store"), "--key", str(crossing.keys.public)]
    words += ["--once", "--json", "--settle", "0s"]
    right, wrong = ["--identity", str(crossing.identity)], ["--identity", str(crossing.stranger)]
    bring(crossing.one, inbox)
    assert run(words) == 3
    (waits,) = json.loads(capsys.readouterr().out)["incomplete"]
    assert (waits["bundle"], waits["name"]) == (None, "bundle")
    assert "needs --identity" in waits["why"]
    assert run([*words, *wrong]) == 3
    assert "another identity" in json.loads(capsys.readouterr().out)["incomplete"][0]["why"]
    assert run([*words, "--identity", str(tmp_path / "none")]) == 2
    capsys.readouterr()
    spoil(inbox / names(crossing.one)[2], 50_000)
    assert run([*words, *wrong, *right]) == 4
    assert json.loads(capsys.readouterr().out)["incomplete"][0]["missing"] == names(crossing.one)[2:3]
    assert run([*words, *right]) == 3
    capsys.readouterr()
    shutil.copy(crossing.one.volumes[2], inbox)
    assert run([*words, *wrong, *right]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["unpacked"]] == ["b1"]
    assert run(words) == 0
    assert len(json.loads(capsys.readouterr().out)["known"]) == 1


def test_lock_release_and_approval_come_too(
    tmp_path: Path, crossing: Crossing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.create("store") as store:
        fill(store)
        entries = [
            LockEntry("image", held.name, held.descriptor.digest, held.descriptor.media_type)
            for held in store.references()
        ]
    write_lock("isthmus.lock", Lock(references=tuple(entries)))
    public = identities(crossing.identity)[0].to_public()
    words = [
        "pack",
        "--store",
        "store",
        "--lock",
        "isthmus.lock",
        "--no-tool",
        "--sign",
        str(crossing.keys.private),
    ]
    words += ["--encrypt-to", str(public), "--volume-size", "200kB", "--out", "in", "--sbom", "none"]
    assert run([*words, "--release", "release"]) == 0
    taking = ["receive", "in", "--store", "site", "--key", str(crossing.keys.public), "--once", "--settle", "0s"]
    taking += ["--identity", str(crossing.identity), "--require-approval", str(crossing.keys.public)]
    assert run(taking) == 3
    assert "is not approved by" in capsys.readouterr().out
    assert run(["approve", "release/release.json", "--sign", str(crossing.keys.private)]) == 0
    shutil.copy("release/approval.json", "in")
    Path("in/.isthmus-receive.json").unlink()  # or a minute later
    assert run(taking) == 0
    site = tmp_path / "site"
    assert (site / "isthmus.lock").read_bytes() == Path("isthmus.lock").read_bytes()
    assert not list((site / "reports").glob("*-release.*"))
    for name in ("release.json", "release.csv", "release.html", "release.sig"):
        shutil.copy(f"release/{name}", "in")
    assert run(taking) == 0
    assert len(list((site / "reports").glob("*-release.*"))) == 4
