"""Credentials as Docker and Podman keep them: configuration files and credential helper programs.

Files are looked at in this order, the first that knows the host decides: `REGISTRY_AUTH_FILE`,
`${XDG_RUNTIME_DIR}/containers/auth.json`, `${DOCKER_CONFIG:-~/.docker}/config.json`. Nothing found is None:
anonymous. Not here: what is done with them (`token`).
"""

import base64
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from isthmus.errors import UsageError
from isthmus.registry import helper_program
from isthmus.registry.options import Credential, CredentialSource

_LIMIT = 4 * 1024 * 1024
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY = "https://index.docker.io/v1/"
T = TypeVar("T")


class _Auth(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Config(msgspec.Struct, frozen=True, rename={"creds_store": "credsStore", "cred_helpers": "credHelpers"}):
    auths: Mapping[str, _Auth] | None = None
    creds_store: str = ""
    cred_helpers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class FixedCredentials:
    """The same credentials for everything; None to stay anonymous whatever the machine's files say."""

    credential: Credential | None = field(repr=False)

    def find(self, host: str, repository: str) -> Credential | None:  # noqa: ARG002 - as the protocol has it
        """Those."""
        return self.credential


class CredentialFiles:
    """The files named, or else the usual ones; read once, when first asked. Safe for threads."""

    def __init__(self, paths: tuple[Path, ...] | None = None) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._configs: list[tuple[Path, _Config]] | None = None
        self._helped: dict[tuple[str, str], Credential | None] = {}

    def find(self, host: str, repository: str) -> Credential | None:
        """Raises UsageError (`invalid-config`) where a file or a helper is broken, without showing its content."""
        with self._lock:
            if self._configs is None:
                paths = self._paths if self._paths is not None else tuple(_usual_paths())
                self._configs = [(path, config) for path in paths if (config := _read(path)) is not None]
            for path, config in self._configs:
                found = self._of(path, config, host, repository)
                if found is not None:
                    return found
        return None

    def _of(self, path: Path, config: _Config, host: str, repository: str) -> Credential | None:
        helper = _best(config.cred_helpers or {}, host, repository)
        if helper is not None:
            return self._ask(helper, host, required=True)
        auth = _best(config.auths or {}, host, repository)
        if config.creds_store:
            found = self._ask(config.creds_store, host, required=False)
            if found is not None:
                return found
        return None if auth is None else _decode(auth, path, host)

    def _ask(self, helper: str, host: str, *, required: bool) -> Credential | None:
        server = _HUB_KEY if host in _HUB else host
        key = (helper, server)
        if key not in self._helped:
            self._helped[key] = helper_program.ask(helper, server, required=required)
        return self._helped[key]


def default_credentials() -> CredentialSource:
    """The machine's own configuration."""
    return CredentialFiles()


def _usual_paths() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    docker = os.environ.get("DOCKER_CONFIG")
    home = os.environ.get("HOME", "")
    if docker or home:
        yield (Path(docker) if docker else Path(home) / ".docker") / "config.json"


def _read(path: Path) -> _Config | None:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError("invalid-config", "the credential file cannot be read", where=str(path)) from error
    if not raw.strip():
        return None
    try:
        return msgspec.json.decode(raw[:_LIMIT], type=_Config)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        # The cause may quote the content.
        raise UsageError(
            "invalid-config", "the credential file is not a Docker configuration in JSON", where=str(path)
        ) from None


def _best(entries: Mapping[str, T], host: str, repository: str) -> T | None:
    """The entry whose key is the longest that covers `host/repository`, in any form people write keys in."""
    names = _HUB if host in _HUB else {host}
    chosen: tuple[int, T] | None = None
    for key, value in entries.items():
        known, _, path = _normal(key).partition("/")
        if known not in names:
            continue
        if path and repository != path and not repository.startswith(f"{path}/"):
            continue
        if chosen is None or len(path) > chosen[0]:
            chosen = (len(path), value)
    return chosen[1] if chosen else None


def _normal(key: str) -> str:
    name = key.partition("://")[2] or key
    name = name.strip("/")
    for version in ("/v1", "/v2"):
        name = name.removesuffix(version)
    host, slash, path = name.partition("/")
    return host.lower() + slash + path


def _decode(auth: _Auth, path: Path, host: str) -> Credential | None:
    username, password = auth.username, auth.password
    if auth.auth:
        try:
            text = base64.b64decode(auth.auth, validate=False).decode()
        except ValueError:
            text = ""
        username, colon, password = text.partition(":")
        if not colon:
            raise UsageError(
                "invalid-config", f"the entry for {host} is not base64 of user:password", where=str(path)
            )
        password = password.rstrip("\x00")
    if not (username or auth.identitytoken or auth.registrytoken):
        return None  # Docker leaves empty entries for hosts whose secrets are in the store
    return Credential(
        username=username,
        password=password,
        identity_token=auth.identitytoken,
        registry_token=auth.registrytoken,
    )
