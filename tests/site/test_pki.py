"""The authority, judged by OpenSSL: chains, constraints, keys; and the command line."""

import datetime as dt
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from isthmus.errors import UsageError
from isthmus.inventory.config import Config
from isthmus.inventory.config_file import parse_config
from isthmus.site.pki.authority import Authority, Settings, open_authority
from isthmus.site.pki.files import load_certificates, load_key
from isthmus.site.pki.profile import Constraints
from isthmus.site.pki.settings import servers_of, settings_of

SITE = b"""
site:
  domain: site.internal
  registry: {host: "registry.site.internal:5000", addresses: [10.65.131.137]}
  files: {host: files.site.internal, address: 10.65.131.138}
  object_storage: {endpoint: "https://s3.site.internal", path_style: false}
  ck8s: {base_domain: apps.site.internal, ops_domain: ops.other.internal}
  clusters: {service: {nodes: [10.1.0.0/24], ingress: [10.1.0.9]}}
  pki: {key: ecdsa-p384, leaf: 90d}
"""
openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here")


def config(text: bytes = SITE) -> Config:
    return parse_config(text)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki", settings_of(config().site))
    made.create()
    return made


def accepted(authority: Authority, leaf: Path, *words: str) -> tuple[bool, str]:
    """What `openssl verify` says of a leaf with the root as the only trust."""
    chain = ["-CAfile", str(authority.trust), "-untrusted", str(leaf)]
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *chain, *words, str(leaf)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


@openssl
@pytest.mark.parametrize("key", ["ecdsa-p256", "ecdsa-p384", "rsa-3072", "ed25519"])
def test_openssl_accepts_what_is_issued(tmp_path: Path, key: str) -> None:
    made = Authority(tmp_path / "pki", Settings("site.internal", key, constraints=Constraints(("site.internal",))))
    made.create()
    place = made.issue("registry", ["registry.site.internal", "*.site.internal"])
    good, said = accepted(made, place / "tls.crt", "-verify_hostname", "registry.site.internal")
    assert good, said
    assert not accepted(made, place / "tls.crt", "-verify_hostname", "registry.example.com")[0]


@openssl
def test_openssl_refuses_names_outside_the_constraints(authority: Authority) -> None:
    """Somebody who has the issuing key, but not ours to ask, still cannot certify other names."""
    free = open_authority(authority.directory, Settings())
    free._settings = Settings(name="x")
    for number, name in enumerate(["www.example.com", "8.8.8.8", "2001:db8::1"]):
        place = free.issue(f"n{number}", [name])
        good, said = accepted(authority, place / "tls.crt")
        assert not good
        assert "permitted subtree violation" in said or "excluded subtree violation" in said
    place = free.issue("inside", ["deep.below.site.internal", "10.1.0.77", "10.65.131.137"])
    assert accepted(authority, place / "tls.crt") == (True, f"{place / 'tls.crt'}: OK\n")


def test_names_outside_are_refused_before_anything_is_made(authority: Authority) -> None:
    with pytest.raises(UsageError, match=r"may not certify www\.example\.com, 8\.8\.8\.8"):
        authority.issue("w", ["ok.site.internal", "www.example.com", "8.8.8.8"])
    assert not (authority.directory / "issued").exists()


def test_settings_come_from_the_file() -> None:
    settings = settings_of(config().site)
    assert settings.constraints.domains == ("site.internal", "ops.other.internal")
    assert "10.1.0.0/24" in settings.constraints.networks
    assert settings.leaf_life == 90 * 86400
    assert servers_of(config().site) == {
        "registry": ("registry.site.internal", "10.65.131.137"),
        "files": ("files.site.internal", "10.65.131.138"),
        "object-storage": ("s3.site.internal", "*.s3.site.internal"),
    }
    with pytest.raises(UsageError, match="has no name"):
        settings_of(Config().site)


def test_private_keys_are_their_owners_alone_and_nothing_is_overwritten(authority: Authority) -> None:
    place = authority.issue("registry", ["registry.site.internal"])
    for path in (authority.directory / "root.key", authority.directory / "issuing.key", place / "tls.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = {path: path.read_bytes() for path in authority.directory.rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as refused:
        authority.create()
    assert refused.value.code == "file-exists"
    with pytest.raises(UsageError) as refused:
        authority.issue("registry", ["registry.site.internal"])
    assert refused.value.code == "file-exists"
    assert before == {path: path.read_bytes() for path in authority.directory.rglob("*") if path.is_file()}


def test_encrypted_keys_need_their_passphrase(tmp_path: Path) -> None:
    settings = Settings("site.internal")
    Authority(tmp_path, settings, b"secret words").create()
    assert b"ENCRYPTED" in (tmp_path / "issuing.key").read_bytes()
    for wrong in (None, b"other"):
        with pytest.raises(UsageError) as refused:
            open_authority(tmp_path, settings, wrong).issue("a", ["a.site.internal"])
        assert refused.value.code == "invalid-key"
    place = open_authority(tmp_path, settings, b"secret words").issue("a", ["a.site.internal"])
    assert load_key(place / "tls.key", None)


def test_renewing_keeps_the_names_and_changes_the_key(authority: Authority) -> None:
    place = authority.issue("registry", ["registry.site.internal", "10.65.131.137"], client=True)
    later = authority.issue("long", ["long.site.internal"], life=300 * 86400)
    old, other = load_certificates(place / "tls.crt")[0], load_certificates(later / "tls.crt")[0]
    assert authority.renew(30 * 86400) == ()
    assert authority.renew(100 * 86400) == ("registry",)
    new = load_certificates(place / "tls.crt")[0]
    assert new.public_key() != old.public_key()
    assert load_key(place / "tls.key", None).public_key() == new.public_key()
    kind = x509.SubjectAlternativeName
    assert new.extensions.get_extension_for_class(kind) == old.extensions.get_extension_for_class(kind)
    assert load_certificates(later / "tls.crt")[0] == other


def test_a_new_issuing_authority_signs_all_anew(authority: Authority) -> None:
    place = authority.issue("registry", ["registry.site.internal"])
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=1820)
    assert set(authority.renew(10 * 86400, now=soon)) == {"issuing", "registry"}
    chain = load_certificates(place / "tls.crt")
    chain[0].verify_directly_issued_by(chain[1])
    chain[1].verify_directly_issued_by(load_certificates(authority.trust)[0])


def test_a_stop_between_key_and_certificate_is_mended_by_renewing(authority: Authority) -> None:
    place = authority.issue("registry", ["registry.site.internal"])
    other = authority.issue("other", ["other.site.internal"])
    (place / "tls.key").write_bytes((other / "tls.key").read_bytes())
    assert authority.renew(0) == ("registry",)
    certificate = load_certificates(place / "tls.crt")[0]
    assert load_key(place / "tls.key", None).public_key() == certificate.public_key()


def test_a_leaf_never_outlives_its_signer(authority: Authority) -> None:
    place = authority.issue("long", ["long.site.internal"], life=9000 * 86400)
    leaf, issuing = load_certificates(place / "tls.crt")
    assert leaf.not_valid_after_utc == issuing.not_valid_after_utc


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 200])
def test_directories_cannot_be_escaped(authority: Authority, name: str) -> None:
    with pytest.raises(UsageError):
        authority.issue(name, ["a.site.internal"])


def isthmus(*words: str, cwd: Path, status: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "isthmus", "pki", *words, "--json"], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "isthmus.yaml").write_bytes(SITE)
    assert isthmus("issue", cwd=tmp_path, status=2)["error"]["code"] == "file-not-found"
    assert isthmus("init", cwd=tmp_path)["trust"] == "pki/ca.pem"
    assert isthmus("init", cwd=tmp_path, status=2)["error"]["code"] == "file-exists"
    issued = isthmus("issue", cwd=tmp_path)["issued"]
    assert [item["name"] for item in issued] == ["registry", "files", "object-storage"]
    assert isthmus("issue", cwd=tmp_path)["issued"] == []
    isthmus("issue", "x.example.com", cwd=tmp_path, status=2)
    assert len(isthmus("list", cwd=tmp_path)["certificates"]) == 5
    assert isthmus("list", "--within", "91d", cwd=tmp_path, status=3)["certificates"][0]["due"] is True
    assert sorted(isthmus("renew", "--within", "91d", cwd=tmp_path)["renewed"]) == [
        "files",
        "object-storage",
        "registry",
    ]


def test_an_acme_server_of_the_site_is_asked_instead() -> None:
    from isthmus.inventory.mapping import MirrorMap
    from isthmus.site.addresses import server
    from isthmus.site.cert_manager import cluster_issuer
    from isthmus.site.plan import Site

    text = SITE.replace(
        b"leaf: 90d",
        b'leaf: 90d, acme: {directory: "https://acme.site.internal/directory", addresses: [10.1.0.5]}',
    )
    site = Site(config(text), "https://registry.site.internal", MirrorMap(), ca=b"pem")
    acme = cluster_issuer(site)["spec"]["acme"]
    assert acme["server"] == "https://acme.site.internal/directory"
    assert acme["caBundle"] == "cGVt"
    found = server(site, "acme")
    assert found is not None
    assert (found.networks, found.port) == (("10.1.0.5/32",), 443)
