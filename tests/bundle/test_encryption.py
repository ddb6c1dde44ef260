"""Encrypted volumes show nothing, and open only with an identity that they are for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.bundle import (
    KeyPaths,
    generate_identity,
    load_private_key,
    load_public_key,
    pack_encrypted,
    plan_bundle,
    unpack_stream,
)
from isthmus.bundle.encryption import DecryptedSource, identities, new_identity, plain_size, recipient
from isthmus.cli.main import run
from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import Bundle, tree

pytest.importorskip("pyrage")
LIMIT = 200_000


@pytest.fixture
def secrets(tmp_path: Path) -> tuple[Path, Path, list[Any]]:
    paths, recipients = [], []
    for number in range(2):
        identity, public = new_identity()
        paths.append(tmp_path / f"{number}.age")
        paths[-1].write_text(f"# public key: {public}\n{identity}\n")
        recipients.append(recipient(public))
    return paths[0], paths[1], recipients


@pytest.fixture
def sealed(signed: Bundle, keys: KeyPaths, secrets: tuple[Path, Path, list[Any]], tmp_path: Path) -> list[Path]:
    with Store.open(signed.source) as store:
        plan = plan_bundle(store, volume_size=plain_size(LIMIT, 2), parity=40)
        result = pack_encrypted(plan, store, tmp_path / "out", secrets[2], load_private_key(keys.private))
    assert all(volume.size <= LIMIT for volume in result.volumes)
    assert len(result.volumes) > 4
    return [tmp_path / "out" / volume.file for volume in result.volumes]


def opened(paths: list[Path], identity: Path) -> Any:
    return DecryptedSource(paths, identities(identity))


def test_each_recipient_can_open_it(
    sealed: list[Path], secrets: tuple[Path, Path, list[Any]], signed: Bundle, keys: KeyPaths, tmp_path: Path
) -> None:
    public = [load_public_key(keys.public)]
    for number in (0, 1):
        result = unpack_stream(opened(sealed, secrets[number]), tmp_path / f"site{number}", public)  # type: ignore[arg-type]
        assert (tree(tmp_path / f"site{number}"), result.signed_by) == (signed.tree, keys.key_id)


def test_nothing_shows(sealed: list[Path]) -> None:
    for path in sealed:
        data = path.read_bytes()
        assert b"registry.example" not in data
        assert b"isthmus" not in data
    names = {path.name for path in sealed[0].parent.iterdir()}
    assert names == {path.name for path in sealed} | {"SHA256SUMS"}
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=sealed[0].parent, check=True)


def test_another_identity_and_damage(
    sealed: list[Path], secrets: tuple[Path, Path, list[Any]], signed: Bundle, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_text(new_identity()[0])
    with pytest.raises(VerificationError) as error:
        unpack_stream(opened(sealed, stranger), tmp_path / "site")
    assert error.value.code == "not-decrypted"
    for place in (10, 150, 100_000):
        sound = sealed[1].read_bytes()
        spoiled = bytearray(sound)
        spoiled[place] ^= 1
        sealed[1].write_bytes(spoiled)
        with pytest.raises(VerificationError):
            unpack_stream(opened(sealed, secrets[0]), tmp_path / "site")
        sealed[1].write_bytes(sound)
    assert not (tmp_path / "site").exists()
    result = unpack_stream(opened(sealed[:1] + sealed[2:], secrets[0]), tmp_path / "other")
    assert (tree(tmp_path / "other"), result.rebuilt > 0) == (signed.tree, True)
    with pytest.raises(IncompleteError):
        unpack_stream(opened(sealed[:1], secrets[0]), tmp_path / "third")


def test_a_pair_in_files(tmp_path: Path) -> None:
    paths = generate_identity(tmp_path, "site")
    assert paths.private.stat().st_mode & 0o777 == 0o600
    assert len(identities(paths.private)) == 1
    assert recipient(paths.public.read_text())
    with pytest.raises(UsageError):
        generate_identity(tmp_path, "site")


def test_wrong_keys(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        recipient("age1nothing")
    (tmp_path / "junk").write_text("AGE-SECRET-KEY-1NOTHING")
    with pytest.raises(UsageError) as error:
        identities(tmp_path / "junk")
    assert "NOTHING" not in str(error.value)
    with pytest.raises(UsageError):
        identities(tmp_path / "gone")


def test_the_commands(signed: Bundle, tmp_path: Path) -> None:
    identity, public = new_identity()
    (tmp_path / "id").write_text(identity)
    isthmus = f"{sys.executable} -m isthmus"
    script = (
        f"{isthmus} pack --no-tool --store {signed.source} --volume-size 200kB --encrypt-to {public} --out out && "
        f"{isthmus} verify out --identity id && {isthmus} unpack out --identity id --store a && "
        f"{isthmus} pack --no-tool --store {signed.source} --encrypt-to {public} --out - | "
        f"{isthmus} unpack - --identity id --store b && ! {isthmus} unpack out --store c"
    )
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == signed.tree


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_killed_run_is_taken_up_behind_the_last_finished_volume(
    signed: Bundle, keys: KeyPaths, secrets: tuple[Path, Path, list[Any]], tmp_path: Path, after: int
) -> None:
    out, journal = tmp_path / "out", tmp_path / "out" / ".encrypted.partial"

    def finished() -> list[str]:
        return [v["file"] for v in json.loads(journal.read_bytes())["volumes"]] if journal.exists() else []

    def stop(done: int, total: int, label: str) -> None:
        if len(finished()) == after:
            raise Killed

    def sealed_bytes(name: str) -> bytes:
        return next(out.glob(f"{name}*")).read_bytes()

    with Store.open(signed.source) as store:
        plan, key = plan_bundle(store, volume_size=120_000), load_private_key(keys.private)
        with pytest.raises(Killed):
            pack_encrypted(plan, store, out, secrets[2], key, stop)
        kept = {name: sealed_bytes(name) for name in finished()}
        assert len(kept) == after
        result = pack_encrypted(plan, store, out, secrets[2], key)
    assert {name: sealed_bytes(name) for name in kept} == kept
    assert {path.name for path in out.iterdir()} == {*(v.file for v in result.volumes), "SHA256SUMS"}
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=out, check=True)
    unpack_stream(opened(sorted(out.glob("*.age")), secrets[0]), tmp_path / "site", [load_public_key(keys.public)])
    assert tree(tmp_path / "site") == signed.tree


@pytest.mark.parametrize("what", ["file", "recipients", "signature"])
def test_what_was_finished_otherwise_is_done_again(
    signed: Bundle,
    keys: KeyPaths,
    other_keys: KeyPaths,
    secrets: tuple[Path, Path, list[Any]],
    tmp_path: Path,
    what: str,
) -> None:
    out = tmp_path / "out"

    def stop(done: int, total: int, label: str) -> None:
        if done > 300_000:
            raise Killed

    with Store.open(signed.source) as store:
        plan = plan_bundle(store, volume_size=120_000)
        with pytest.raises(Killed):
            pack_encrypted(plan, store, out, secrets[2], load_private_key(keys.private), stop)
        first = next(out.glob("bundle-0001.isv.age*"))
        before = first.read_bytes()
        if what == "file":
            first.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        key = load_private_key(other_keys.private if what == "signature" else keys.private)
        to = secrets[2][:1] if what == "recipients" else secrets[2]
        pack_encrypted(plan, store, out, to, key)
    assert (out / "bundle-0001.isv.age").read_bytes() != before
    unpack_stream(opened(sorted(out.glob("*.age")), secrets[0]), tmp_path / "site", [key.public])
    assert tree(tmp_path / "site") == signed.tree


def test_what_is_missing_is_called_as_the_files_are(
    sealed: list[Path], secrets: tuple[Path, Path, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opens = ["--identity", str(secrets[0]), "--json"]
    given = [str(path) for path in sealed[2:3]]
    others = [path.name for path in sealed if str(path) not in given]
    assert run(["unpack", *given, "--store", str(tmp_path / "site"), *opens]) == 3
    assert {item["file"] for item in json.loads(capsys.readouterr().out)["error"]["items"]} <= set(others)
    assert run(["verify", *given, *opens]) == 3
    assert [item["file"] for item in json.loads(capsys.readouterr().out)["missing"]] == others
    assert run(["unpack", *given, "--store", str(tmp_path / "site")]) == 2
    assert capsys.readouterr().err.count(given[0]) == 1
