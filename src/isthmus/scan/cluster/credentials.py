"""Who asks: tokens, passwords, client certificates and the programs that fetch them, as kubectl knows them.

Secrets are never part of a message. Not here: the file that names them (`kubeconfig`).
"""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus.errors import UnreachableError, UsageError
from isthmus.scan.cluster.kubeconfig import KubeConfig
from isthmus.scan.document import list_at, mapping_at, text_at

EXEC_TIMEOUT = 60.0
"""Seconds for a program that fetches credentials."""


class Credentials(msgspec.Struct, frozen=True):
    """What goes into the connection: a header, and a certificate with its key in PEM."""

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""


def find(config: KubeConfig) -> Credentials:
    """The credentials of the context.

    Raises UsageError (`invalid-config`, `file-not-found`) or UnreachableError (`unauthorized`).
    """
    user = config.user
    if mapping_at(user, "exec"):
        return _from_program(config, mapping_at(user, "exec"))
    if mapping_at(user, "auth-provider"):
        raise UsageError(
            "invalid-config",
            f"the context {config.context!r} uses auth-provider, which Kubernetes has removed",
            where=config.path,
            hint="use a client certificate, a token or an exec plugin",
        )
    return Credentials(
        authorization=_authorization(config),
        certificate=config.material(user, "client-certificate"),
        key=config.material(user, "client-key"),
    )


def tls(config: KubeConfig, credentials: Credentials) -> ssl.SSLContext:
    """The TLS settings of the context; raises UsageError (`invalid-config`)."""
    context = ssl.create_default_context()
    try:
        authority = config.material(config.cluster, "certificate-authority")
        if authority:
            # Only that authority, as kubectl does: the system's are no authorities of a cluster's.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=authority.decode("ascii"))
        if config.cluster.get("insecure-skip-tls-verify") is True:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credentials.certificate:
            _load_certificate(context, credentials)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            "invalid-config",
            f"a certificate or key of the context {config.context!r} cannot be read",
            where=config.path,
        ) from error
    return context


def _load_certificate(context: ssl.SSLContext, credentials: Credentials) -> None:
    # The ssl module takes a certificate from files alone.
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        paths = (os.path.join(folder, "certificate"), os.path.join(folder, "key"))
        for path, content in zip(paths, (credentials.certificate, credentials.key), strict=True):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        context.load_cert_chain(*paths)


def _authorization(config: KubeConfig) -> str:
    user = config.user
    token = text_at(user, "token")
    if not token and text_at(user, "tokenFile"):
        token = config.read_file(text_at(user, "tokenFile")).strip()
    if token:
        return _bearer(token, config)
    if text_at(user, "username"):
        pair = f"{text_at(user, 'username')}:{text_at(user, 'password')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return ""


def _bearer(token: str, config: KubeConfig) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            "invalid-config", f"the token of the context {config.context!r} is damaged", where=config.path
        )
    return f"Bearer {token}"


def _from_program(config: KubeConfig, settings: Mapping[str, Any]) -> Credentials:
    """Ask a credential plugin (client.authentication.k8s.io); its own output is not shown, it may be secret."""
    command = [text_at(settings, "command"), *(str(argument) for argument in list_at(settings, "args"))]
    version = text_at(settings, "apiVersion") or "client.authentication.k8s.io/v1"
    request = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    given = {text_at(entry, "name"): text_at(entry, "value") for entry in list_at(settings, "env")}
    # A relative path is relative to the kubeconfig, a bare name is looked for in PATH.
    if os.sep in command[0]:
        command[0] = os.path.join(os.path.dirname(os.path.abspath(config.path)), command[0])
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=EXEC_TIMEOUT,
            check=False,
            env={**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(request)},
        )
        status = mapping_at(json.loads(result.stdout), "status") if result.returncode == 0 else {}
    except FileNotFoundError as error:
        raise _failed(config, command, "is not installed", text_at(settings, "installHint")) from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _failed(config, command, f"gave no credentials ({type(error).__name__})") from error
    if not status:
        raise _failed(config, command, f"gave no credentials (it ended with status {result.returncode})")
    token = text_at(status, "token")
    return Credentials(
        authorization=_bearer(token, config) if token else "",
        certificate=text_at(status, "clientCertificateData").encode(),
        key=text_at(status, "clientKeyData").encode(),
    )


def _failed(config: KubeConfig, command: list[str], why: str, hint: str = "") -> UnreachableError:
    return UnreachableError(
        "unauthorized",
        f"the program {command[0]!r}, which fetches the credentials of {config.context!r}, {why}",
        where=config.path,
        hint=hint or "see whether kubectl works with the same kubeconfig",
    )
