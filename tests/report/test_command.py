"""`pack` writes the release document, `approve` signs it, `unpack` asks for that; by the commands alone."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, generate_keys, load_public_key
from isthmus.bundle.layout import Signature
from isthmus.cli.main import run
from tests.report.conftest import NGINX, Platform

RELEASE = {"release.html", "release.json", "release.csv", "sbom.cdx.json"}


@pytest.fixture
def maker(tmp_path: Path) -> KeyPaths:
    return generate_keys(tmp_path / "keys", "maker")


def pack(platform: Platform, out: Path | str, *options: str) -> int:
    store = str(platform.store.path)
    workspace = str(platform.place / "work")
    return run(
        ["pack", "--store", store, "--workspace", workspace, "--out", str(out), "--no-tool", "-q", *options]
    )


def files(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_from_pack_to_unpack(platform: Platform, maker: KeyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    out, place = platform.place / "out", platform.place
    officer = generate_keys(place / "keys", "officer")
    cosign = place / "cosign.pub"
    cosign.write_bytes(platform.signer.pem)
    assert pack(platform, out, "--sign", str(maker.private), "--signed-by", str(cosign), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {Path(file).name for file in document["release"]} == RELEASE | {"release.sig"}
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=True)
    release = json.loads((out / "release.json").read_text())
    assert release["bundle"] == document["bundle"]
    assert release["signers"] == [maker.key_id]
    nginx = next(item for item in release["items"] if item["name"] == f"{NGINX}:1.22.1")
    assert nginx["signatures"][0]["result"] == "verified"
    for file in release["files"]:
        assert hashlib.sha256((out / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    key = load_public_key(maker.public)
    signature = Signature(key.key_id, (out / "release.sig").read_bytes())
    assert key.verifies(signature, (out / "release.json").read_bytes())
    assert run(["approve", str(out), "--sign", str(officer.private), "-q"]) == 0
    site = ["--store", str(place / "site"), "--require-approval", str(officer.public), "-q"]
    assert run(["unpack", str(out), *site, "--require-signed-by", str(cosign)]) == 4
    assert run(["unpack", str(out), *site, "--require-signed-by", f"{cosign}={NGINX}*"]) == 0


def test_packing_once_more_changes_nothing(platform: Platform, maker: KeyPaths) -> None:
    out = platform.place / "out"
    assert pack(platform, out, "--sign", str(maker.private)) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert pack(platform, out, "--sign", str(maker.private)) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_where_the_release_goes(platform: Platform, tmp_path: Path) -> None:
    pytest.importorskip("pyrage")
    assert pack(platform, tmp_path / "none", "--no-release") == 0
    assert not RELEASE & files(tmp_path / "none")
    assert pack(platform, tmp_path / "apart", "--release", str(tmp_path / "office"), "--sbom", "none") == 0
    assert not RELEASE & files(tmp_path / "apart")
    assert files(tmp_path / "office") == RELEASE - {"sbom.cdx.json"}
    assert run(["keys", "new", "--age", "--out", str(tmp_path / "keys"), "-q"]) == 0
    recipient = (tmp_path / "keys" / "isthmus.age.pub").read_text().strip()
    assert pack(platform, tmp_path / "sealed", "--encrypt-to", recipient) == 0
    assert not RELEASE & files(tmp_path / "sealed")  # it would tell what is inside
    assert pack(platform, tmp_path / "both", "--release", str(tmp_path), "--no-release") == 2
    assert pack(platform, tmp_path / "both", "--previous", str(tmp_path / "nothing.json")) == 2
    assert not (tmp_path / "both").exists()


def test_only_what_was_read_is_approved(
    platform: Platform, maker: KeyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page or a document that hides something is found; without the bundle, by the document's signature."""
    out = platform.place / "out"
    officer = generate_keys(platform.place / "keys", "officer")
    assert pack(platform, out, "--sign", str(maker.private)) == 0
    approve = ["approve", str(out), "--sign", str(officer.private), "--dry-run"]
    signed = [*approve, "--key", str(maker.public)]
    assert run(signed) == 0
    assert capsys.readouterr().err == ""
    page, document = out / "release.html", out / "release.json"
    right = page.read_text(), document.read_text()
    page.write_text(right[0].replace(NGINX, "docker.io/library/harmless"))
    assert run(approve) == 4
    assert "does not show what release.json says" in capsys.readouterr().err
    page.unlink()
    release = json.loads(right[1])
    release["items"] = [item for item in release["items"] if not item["name"].startswith(f"{NGINX}:1")]
    document.write_text(json.dumps(release))
    assert run(approve) == 4
    assert f"{NGINX}:1.22.1" in capsys.readouterr().err
    assert run(signed) == 4
    assert "it is not signed by" in capsys.readouterr().err
    alone = platform.place / "alone"
    alone.mkdir()
    (alone / "release.json").write_text(right[1])
    assert run(["approve", str(alone / "release.json"), *approve[2:]]) == 0
    assert "was not compared with it" in capsys.readouterr().err
    assert run(["approve", str(alone / "release.json"), *signed[2:]]) == 4
    assert "release.sig is not beside it" in capsys.readouterr().err
