"""Credentials by reference: what they lead to, when they are read, and that messages never repeat them."""

import json
from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.registry import Credential, NamedSecret

SECRET = "hunter2-of-the-site"


def test_a_variable_holds_a_user_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = NamedSecret("env:SITE_AUTH")
    monkeypatch.setenv("SITE_AUTH", f"robot$mirror:{SECRET}:with:colons")
    found = secret.find("registry.site", "a/b")
    assert found == Credential(username="robot$mirror", password=f"{SECRET}:with:colons")
    monkeypatch.delenv("SITE_AUTH")
    assert secret.find("registry.site", "c") == found, "it is read once"


def test_a_file_holds_a_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    assert NamedSecret(f"file:{path}").find("registry.site", "") == Credential(registry_token=SECRET)


def test_a_file_may_be_a_docker_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {"registry.site": {"username": "u", "password": SECRET}}}))
    found = NamedSecret(f"file:{path}")
    assert found.find("registry.site", "") == Credential(username="u", password=SECRET)
    assert found.find("other.site", "") is None


def test_docker_means_the_usual_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {"registry.site": {"username": "u", "password": SECRET}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    assert NamedSecret("docker").find("registry.site", "") == Credential(username="u", password=SECRET)


def test_what_is_not_there_is_said_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_AUTH", raising=False)
    for reference in ("env:NO_SUCH_AUTH", f"file:{tmp_path / 'none'}", f"file:{tmp_path}"):
        secret = NamedSecret(reference)
        with pytest.raises(UsageError) as caught:
            secret.find("registry.site", "")
        assert caught.value.code == "invalid-config"


@pytest.mark.parametrize(
    "content", [SECRET.encode() + b"\nmore\n", b"\xff\xfe" + SECRET.encode(), b"u:" + SECRET.encode() + b"\0x"]
)
def test_nonsense_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        NamedSecret(f"file:{path}").find("registry.site", "")
    error = caught.value
    assert SECRET not in repr((error, error.as_document(), error.__cause__))


def test_it_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_AUTH", f"u:{SECRET}")
    secret = NamedSecret("env:SITE_AUTH")
    assert SECRET not in repr((secret, secret.find("registry.site", "")))
