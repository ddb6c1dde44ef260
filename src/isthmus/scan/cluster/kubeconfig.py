"""`KubeConfig`: a kubeconfig file and the context of it that is used.

Files may be named by the kubeconfig, relative to it, as kubectl does. Not here: credentials that have to
be fetched (`credentials`), and talking to the server (`client`).
"""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus.errors import UsageError
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all


class KubeConfig(msgspec.Struct, frozen=True):
    """One context: its name, where the server is, and who asks."""

    path: str
    context: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The address of the server, without a slash at its end."""
        return text_at(self.cluster, "server").rstrip("/")

    def material(self, holder: Mapping[str, Any], name: str) -> bytes:
        """What `name-data` holds or `name` names, nothing where neither is there.

        Raises UsageError (`invalid-config`, `file-not-found`).
        """
        data = text_at(holder, f"{name}-data")
        if data:
            try:
                return base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError) as error:
                raise _wrong(self.path, f"{name}-data of the context {self.context!r} is not base64") from error
        file = text_at(holder, name)
        return self.read_file(file).encode() if file else b""

    def read_file(self, name: str) -> str:
        """A file that the kubeconfig names."""
        return read_text(os.path.join(os.path.dirname(os.path.abspath(self.path)), os.path.expanduser(name)))


def load(path: str, context: str = "") -> KubeConfig:
    """Read a kubeconfig and choose a context, the current one where none is given.

    Raises UsageError (`file-not-found`, `invalid-config`) or UnreachableError (`io-failed`).
    """
    try:
        documents = parse_all(read_text(path), path)
    except UsageError as error:
        if error.code == "invalid-input":
            raise _wrong(path, f"it is not a kubeconfig: {error.message}") from error
        raise
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise _wrong(path, "it is not a kubeconfig")
    config = documents[0]
    name = context or text_at(config, "current-context")
    names = [text_at(entry, "name") for entry in list_at(config, "contexts")]
    if not name:
        raise _wrong(path, "it has no current context", f"give context=, one of {', '.join(names) or 'none'}")
    chosen = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", text_at(chosen, "cluster"), path)
    user = _named(config, "users", "user", text_at(chosen, "user"), path) if text_at(chosen, "user") else {}
    if not text_at(cluster, "server").startswith(("https://", "http://")):
        raise _wrong(path, f"the cluster of the context {name!r} has no server address")
    return KubeConfig(path=path, context=name, cluster=cluster, user=user)


def _named(config: Mapping[str, Any], listing: str, key: str, name: str, path: str) -> Mapping[str, Any]:
    entries = list_at(config, listing)
    for entry in entries:
        if text_at(entry, "name") == name:
            return mapping_at(entry, key)
    known = ", ".join(text_at(entry, "name") for entry in entries)
    raise _wrong(path, f"there is no {key} {name[:100]!r} in it", f"it has {known}" if known else "")


def _wrong(path: str, why: str, hint: str = "") -> UsageError:
    return UsageError("invalid-config", why, where=path, hint=hint)
