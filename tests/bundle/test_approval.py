"""An approval is for one bundle and one release document, by a key that the site asks for."""

import json
from pathlib import Path

import pytest

from isthmus.bundle import (
    Demands,
    KeyPaths,
    add_approval,
    approve,
    generate_keys,
    load_policy,
    load_private_key,
    load_public_key,
    pack,
    plan_bundle,
    read_approvals,
    subject_of,
    unpack,
)
from isthmus.cli.main import run
from isthmus.errors import UsageError, VerificationError
from isthmus.report import Asked, make_release
from isthmus.store import Store
from tests.bundle.conftest import fill, put_image


@pytest.fixture
def officer(tmp_path: Path) -> KeyPaths:
    return generate_keys(tmp_path / "keys", "officer")


@pytest.fixture
def second(tmp_path: Path) -> KeyPaths:
    return generate_keys(tmp_path / "keys", "second")


def bundle(place: Path, seed: int = 1, **options: int) -> Path:
    with Store.create(place / f"source{seed}") as store:
        fill(store, seed)
        out = place / f"bundle{seed}"
        pack(plan_bundle(store, **options), store, out)  # type: ignore[arg-type]
    with Store.open(place / f"source{seed}") as store:
        _, files = make_release(plan_bundle(store, **options), store, Asked(mode="none"))  # type: ignore[arg-type]
    (out / "release.json").write_bytes(files["release.json"])
    return out


def approved(out: Path, key: KeyPaths, **texts: str) -> Path:
    add_approval(out / "approval.json", approve(subject_of(out), load_private_key(key.private), **texts))
    return out


def asking(*keys: KeyPaths) -> Demands:
    return Demands(approvers=tuple(load_public_key(key.public) for key in keys))


def refusal(out: Path, site: Path, demands: Demands) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        unpack([out], site, demands=demands)
    assert caught.value.code == "not-approved"
    assert not site.exists()
    assert not site.with_name("site.incoming").exists()
    return caught.value


def test_an_approved_bundle_is_taken(tmp_path: Path, officer: KeyPaths) -> None:
    out = approved(bundle(tmp_path), officer, name="A. Officer", comment="seen")
    assert unpack([out], tmp_path / "site", demands=asking(officer)).references == 3
    statement = read_approvals(out / "approval.json")[0].statement
    assert (statement.name, statement.comment) == ("A. Officer", "seen")


def test_without_approval_or_with_anothers_it_is_refused(
    tmp_path: Path, officer: KeyPaths, second: KeyPaths
) -> None:
    out = bundle(tmp_path)
    refusal(out, tmp_path / "site", asking(officer))
    approved(out, second)
    refusal(out, tmp_path / "site", asking(officer))
    refusal(out, tmp_path / "site", asking(officer, second))
    approved(out, officer)
    unpack([out], tmp_path / "site", demands=asking(officer, second))


def test_another_bundles_approval_does_not_count(tmp_path: Path, officer: KeyPaths) -> None:
    first, other = approved(bundle(tmp_path, 1), officer), bundle(tmp_path, 2)
    (other / "approval.json").write_bytes((first / "approval.json").read_bytes())
    error = refusal(other, tmp_path / "site", asking(officer))
    assert "it is for bundle" in error.items[0]


def test_a_changed_release_document_ends_the_approval(tmp_path: Path, officer: KeyPaths) -> None:
    out = approved(bundle(tmp_path), officer)
    (out / "release.json").write_text((out / "release.json").read_text() + " ")
    assert "release.json" in refusal(out, tmp_path / "site", asking(officer)).items[0]
    (out / "release.json").unlink()  # the document itself need not travel
    unpack([out], tmp_path / "site", demands=asking(officer))


@pytest.mark.parametrize("field", ["bundle", "release", "time", "name", "comment"])
def test_no_word_of_an_approval_can_be_changed(tmp_path: Path, officer: KeyPaths, field: str) -> None:
    out = approved(bundle(tmp_path), officer)
    path = out / "approval.json"
    document = json.loads(path.read_text())
    new = {"bundle": "0" * 64, "release": None, "time": "2001-01-01T00:00:00Z"}.get(field, "other")
    document["approvals"][0]["statement"][field] = new
    path.write_text(json.dumps(document))
    refusal(out, tmp_path / "site", asking(officer))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"approvals": 1}', "[" * 5000])
def test_a_file_that_is_no_approval(tmp_path: Path, officer: KeyPaths, text: str) -> None:
    out = bundle(tmp_path)
    (out / "approval.json").write_text(text)
    with pytest.raises(UsageError, match="approval"):
        unpack([out], tmp_path / "site", demands=asking(officer))


def test_a_policy_asks_for_several_of_its_approvers(tmp_path: Path, officer: KeyPaths, second: KeyPaths) -> None:
    maker = generate_keys(tmp_path / "keys", "maker")
    generate_keys(tmp_path / "keys", "third")
    (tmp_path / "keys" / "policy.yaml").write_text(
        "keys: [maker.pub]\napprovers: [officer.pub, second.pub, third.pub]\napprovals: 2\n"
    )
    policy = load_policy(tmp_path / "keys" / "policy.yaml")
    with Store.create(tmp_path / "source") as store:
        put_image(store, "a.example/b", "1", [b"x"])
        pack(plan_bundle(store), store, tmp_path / "out", load_private_key(maker.private))
    out = approved(tmp_path / "out", officer)
    with pytest.raises(VerificationError, match="asks for 2 approvals"):
        unpack([out], tmp_path / "site", policy=policy)
    approved(out, officer, comment="twice by the same is once")
    with pytest.raises(VerificationError, match="it has 1"):
        unpack([out], tmp_path / "site", policy=policy)
    approved(out, second)
    unpack([out], tmp_path / "site", policy=policy)
    (out / "approval.json").unlink()
    with pytest.raises(VerificationError, match="asks for 2 approvals"):
        unpack([out], tmp_path / "site")  # the policy was pinned


@pytest.mark.parametrize("text", ["approvals: 2", "approvers: [officer.pub]\napprovals: 2", "approvals: 0"])
def test_a_policy_that_nobody_can_meet(tmp_path: Path, officer: KeyPaths, text: str) -> None:
    (tmp_path / "keys" / "policy.yaml").write_text(f"keys: [officer.pub]\n{text}\n")
    with pytest.raises(UsageError, match=r"policy|approvals"):
        load_policy(tmp_path / "keys" / "policy.yaml")


def test_the_commands(tmp_path: Path, officer: KeyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    out, site = bundle(tmp_path), tmp_path / "site"
    required = ["--require-approval", str(officer.public)]
    assert run(["verify", str(out), *required, "-q"]) == 4
    assert run(["approve", str(out), "--sign", str(officer.private), "--dry-run"]) == 0
    assert not (out / "approval.json").exists()
    assert run(["unpack", str(out), "--store", str(site), *required, "-q"]) == 4
    capsys.readouterr()
    arguments = ["approve", str(out / "release.json"), "--sign", str(officer.private), "--name", "Ann", "--json"]
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bundle"], document["approvals"]) == (subject_of(out).bundle, 1)
    assert run(["verify", str(out), *required, "-q"]) == 0
    assert f"approved by Ann ({officer.key_id})" in capsys.readouterr().out
    moved = tmp_path / "approval.json"
    (out / "approval.json").rename(moved)
    assert run(["unpack", str(out), "--store", str(site), *required, "-q"]) == 4
    assert run(["unpack", str(out), "--store", str(site), *required, "--approval", str(moved), "-q"]) == 0


def test_a_release_document_of_another_bundle_is_not_approved(tmp_path: Path, officer: KeyPaths) -> None:
    out = bundle(tmp_path)
    (out / "release.json").write_text(json.dumps({"format": "isthmus-release", "bundle": "0" * 64}))
    with pytest.raises(VerificationError, match="beside it is"):
        subject_of(out)
