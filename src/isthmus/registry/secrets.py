"""Credentials by reference: `env:NAME`, `file:PATH` or `docker`, as isthmus.yaml names them for one host.

The secret is read when it is first needed, so that a host that is not used asks for nothing, and no message
ever repeats it. Not here: Docker's own files (`credentials`).
"""

import os
import threading
from pathlib import Path

from isthmus.errors import UsageError
from isthmus.registry.credentials import CredentialFiles
from isthmus.registry.options import Credential, CredentialSource

_LIMIT = 1024 * 1024


class NamedSecret:
    """The credentials that a reference leads to, for every repository of a host; safe for threads.

    What it leads to is `user:password`, or a token without a colon that is sent as it is; a file may also be a
    Docker configuration in JSON.
    """

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._lock = threading.Lock()
        self._source: CredentialSource | None = None
        self._credential: Credential | None = None

    def find(self, host: str, repository: str) -> Credential | None:
        """Raises UsageError (`invalid-config`) where the variable or the file is not there, or is empty."""
        with self._lock:
            if self._source is None and self._credential is None:
                self._resolve(host)
            source = self._source
        return source.find(host, repository) if source is not None else self._credential

    def _resolve(self, host: str) -> None:
        kind, _, name = self._reference.partition(":")
        if kind == "docker":
            self._source = CredentialFiles()
            return
        text = _variable(name, host) if kind == "env" else _content(name)
        if kind == "file" and text.startswith("{"):
            self._source = CredentialFiles((Path(name),))
            return
        self._credential = _parse(text, self._reference)


def _variable(name: str, host: str) -> str:
    text = os.environ.get(name, "").strip()
    if not text:
        raise UsageError(
            "invalid-config",
            f"the environment variable {name}, which holds the credentials of {host}, is not set",
            hint=f"set {name} to user:password, or change auth in isthmus.yaml",
        )
    return text


def _content(name: str) -> str:
    try:
        with open(name, "rb") as stream:
            raw = stream.read(_LIMIT + 1)
        text = raw.decode().strip()
    except (OSError, ValueError) as error:
        # A decoding error would quote the content.
        raise UsageError("invalid-config", "the credential file cannot be read", where=name) from (
            error if isinstance(error, OSError) else None
        )
    if not text or len(raw) > _LIMIT:
        raise UsageError("invalid-config", "the credential file is empty or too large", where=name)
    return text


def _parse(text: str, reference: str) -> Credential:
    if not text.isprintable():
        raise UsageError(
            "invalid-config",
            "the secret has more than one line, or characters that cannot be sent",
            where=reference,
            hint="write user:password, or a token, on one line",
        )
    user, colon, password = text.partition(":")
    return Credential(username=user, password=password) if colon else Credential(registry_token=text)
