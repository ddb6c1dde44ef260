"""Docker's and Podman's files, and credential helper programs (small ones, really run)."""

import base64
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.registry import Credential, CredentialFiles, FixedCredentials
from isthmus.registry.helper_program import ask

PASSWORD = "pass:word-with-colon"


def _auth(user: str = "user", password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _files(path: Path, document: Any) -> CredentialFiles:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return CredentialFiles((path,))


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
        ("quay.io", "quay.io"),
        ("https://quay.io", "quay.io"),
        ("https://quay.io/v2/", "quay.io"),
        ("http://registry.example:5000/v1", "registry.example:5000"),
        ("Registry.Example:5000", "registry.example:5000"),
        ("quay.io/org", "quay.io"),
        ("quay.io/org/image", "quay.io"),
    ],
)
def test_keys_as_people_write_them(tmp_path: Path, key: str, host: str) -> None:
    found = _files(tmp_path / "c.json", {"auths": {key: _auth()}}).find(host, "org/image")
    assert found is not None
    assert (found.username, found.password) == ("user", PASSWORD)


@pytest.mark.parametrize(
    "key", ["quay.io:443", "notquay.io", "quay.io/or", "quay.io/org/image/x", "quay.io.example", ""]
)
def test_keys_of_others(tmp_path: Path, key: str) -> None:
    assert _files(tmp_path / "c.json", {"auths": {key: _auth()}}).find("quay.io", "org/image") is None


def test_the_longest_key_decides(tmp_path: Path) -> None:
    keys = {"quay.io": _auth("host"), "quay.io/a/b": _auth("both"), "quay.io/a": _auth("one")}
    files = _files(tmp_path / "c.json", {"auths": keys})
    users = [
        found.username for name in ("a/b", "a/b/c", "a/bc", "z", "") if (found := files.find("quay.io", name))
    ]
    assert users == ["both", "both", "one", "host", "host"]


def test_other_fields(tmp_path: Path) -> None:
    document = {
        "auths": {
            "a.example": {"username": "u", "password": "p"},
            "b.example": {"identitytoken": "i", **_auth("x", "")},
            "c.example": {"registrytoken": "r"},
            "d.example": {},
        },
        "credsStore": "is-not-installed-anywhere",
        "HttpHeaders": {"X": "y"},
    }
    files = _files(tmp_path / "c.json", document)
    assert files.find("a.example", "") == Credential(username="u", password="p")
    assert files.find("b.example", "") == Credential(username="x", identity_token="i")
    assert files.find("c.example", "") == Credential(registry_token="r")
    assert files.find("d.example", "") is None


def test_the_usual_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run/containers", "docker", "home/.docker"):
        (tmp_path / name).mkdir(parents=True)
    for place, user in (
        ("named.json", "named"),
        ("run/containers/auth.json", "run"),
        ("docker/config.json", "docker"),
    ):
        (tmp_path / place).write_text(json.dumps({"auths": {f"{user}.example": _auth(user), "all": _auth(user)}}))
    (tmp_path / "home/.docker/config.json").write_text(json.dumps({"auths": {"all": _auth("home")}}))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    seen = []
    for name, value in (
        ("DOCKER_CONFIG", "docker"), ("XDG_RUNTIME_DIR", "run"), ("REGISTRY_AUTH_FILE", "named.json"),
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
        seen.append(CredentialFiles().find("all", ""))
        monkeypatch.setenv(name, str(tmp_path / value))
    seen.append(CredentialFiles().find("all", ""))
    assert [one.username for one in seen if one] == ["home", "docker", "run", "named"]
    # A file that does not know the host leaves the question to the next.
    later = CredentialFiles().find("docker.example", "")
    assert later is not None


def test_no_file_is_anonymous(tmp_path: Path) -> None:
    assert CredentialFiles((tmp_path / "none" / "c.json",)).find("quay.io", "a") is None
    assert _files(tmp_path / "empty.json", "").find("quay.io", "a") is None
    assert FixedCredentials(None).find("quay.io", "a") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": {"quay.io": {"auth": 5, "password": "hush"}}}', "[" * 100_000]
)
def test_broken_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        _files(tmp_path / "c.json", text).find("quay.io", "a")
    assert caught.value.code == "invalid-config"
    assert "hush" not in str(caught.value.as_document())


@given(st.binary(max_size=200))
def test_any_entry_is_a_credential_or_our_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("config") / "c.json"
    entries = {"a": {"auth": base64.b64encode(data).decode()}, "b": {"auth": data.decode("latin-1")}}
    files = _files(path, {"auths": entries})
    for host in ("a", "b"):
        with contextlib.suppress(UsageError):
            files.find(host, "")


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a helper program with a given shell script."""

    def install(name: str, script: str) -> None:
        program = tmp_path / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return install


def test_helpers(tmp_path: Path, helper: Any) -> None:
    helper(
        "mine", f"""read server; echo "$server" >> {tmp_path}/asked; echo '{{"Username":"u","Secret":"hush"}}'"""
    )
    helper("cloud", """echo '{"ServerURL":"x","Username":"<token>","Secret":"identity"}'""")
    helper("none", "echo 'credentials not found in native keychain'; exit 1")
    document = {
        "credHelpers": {"a.example": "mine", "b.example": "cloud", "docker.io": "mine"},
        "credsStore": "none",
        "auths": {"c.example": _auth(), "a.example": {}},
    }
    files = _files(tmp_path / "c.json", document)
    for _ in range(2):
        assert files.find("a.example", "x") == Credential(username="u", password="hush")
    assert files.find("b.example", "x") == Credential(identity_token="identity")
    assert files.find("docker.io", "x") == Credential(username="u", password="hush")
    found = files.find("c.example", "x")
    assert found is not None
    assert found.username == "user"
    assert (tmp_path / "asked").read_text().split() == ["a.example", "https://index.docker.io/v1/"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo hush; exit 3", "status 3"),
        ("echo hush", "something other"),
        ("exec sleep 10", "longer than"),
    ],
)
def test_helpers_that_fail(helper: Any, script: str, why: str) -> None:
    helper("bad", script)
    before = time.monotonic()
    with pytest.raises(UsageError) as caught:
        ask("bad", "a.example", required=True, timeout=0.5)
    assert why in caught.value.message
    assert "hush" not in str(caught.value.as_document())
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("name", ["not-installed", "../../bin/sh", "", "a b"])
def test_helpers_that_are_none(name: str) -> None:
    with pytest.raises(UsageError):
        ask(name, "a.example", required=True)


def test_nothing_shows_secrets() -> None:
    credential = Credential(username="u", password="hush1", identity_token="hush2", registry_token="hush3")
    assert "hush" not in repr(credential)
    assert "hush" not in repr(FixedCredentials(credential))
