"""Debian's docker-registry (Distribution 2.8) as a fixture: a registry written by others.

It listens on a port that the kernel chose, which it says in its log, so that parallel runs never collide.
"""

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.real.programs import Program, output

_NO_PROXY = urllib.request.ProxyHandler({})


@dataclass(frozen=True)
class Tls:
    """Files for a registry that speaks TLS."""

    certificate: Path
    key: Path


class DockerRegistry:
    """One running registry."""

    def __init__(self, program: Program, address: str, directory: Path, *, tls: bool) -> None:
        self.address = address
        self.scheme = "https" if tls else "http"
        self.storage = directory / "storage"
        self._program = program

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self._program.pid

    def log(self) -> str:
        """Return the end of its log: every request is a line there."""
        return self._program.tail()

    def stop(self) -> None:
        self._program.stop()


def start(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    users: Mapping[str, str] | None = None,
    auth: Mapping[str, object] | None = None,
    tls: Tls | None = None,
    delete: bool = True,
    wrapper: list[str] | None = None,
    program: tuple[str, ...] = ("docker-registry",),
) -> DockerRegistry:
    """Start a registry that keeps everything in the directory; wrapper is a command that enters a namespace.

    `auth` is that section of its configuration, in place of `users`. `program` may be another version of
    Distribution than Debian's.
    """
    directory.mkdir(parents=True, exist_ok=True)
    storage = {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": delete}}
    http: dict[str, object] = {"addr": f"{host}:0", "secret": "not-secret"}
    if tls is not None:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    # Debug lines and traces of Distribution cost more than its work; "info" still logs each request.
    config: dict[str, object] = {"version": "0.1", "log": {"level": "info"}, "storage": storage, "http": http}
    if users:
        config["auth"] = {"htpasswd": {"realm": "isthmus-test", "path": str(_passwords(directory, users))}}
    if auth:
        config["auth"] = auth
    path = directory / "config.yml"
    path.write_text(json.dumps(config))  # YAML 1.2 contains JSON
    running = Program([*program, "serve", str(path)], directory / "docker-registry.log", wrapper)
    port = running.wait_until(lambda: _listening_port(running.log))
    registry = DockerRegistry(running, f"{host}:{port}", directory, tls=tls is not None)
    if wrapper is None:
        running.wait_until(lambda: _answers(registry.url))
    return registry


def _passwords(directory: Path, users: Mapping[str, str]) -> Path:
    # The registry accepts bcrypt only; cost 4, because it checks the password at every request.
    lines = [output("htpasswd", "-nbBC", "4", name, password).strip() for name, password in users.items()]
    path = directory / "htpasswd"
    path.write_text("\n".join(lines) + "\n")
    return path


def _listening_port(log: Path) -> str | None:
    match = re.search(r"listening on \S+:(\d+)", log.read_text(errors="replace"))
    return match[1] if match else None


def _answers(url: str) -> bool | None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(_NO_PROXY, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(f"{url}/v2/", timeout=2):
            return True
    except urllib.error.HTTPError as refused:
        with refused:
            return True if refused.code == 401 else None
    except OSError:
        return None
