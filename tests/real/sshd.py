"""Debian's sshd, in a namespace, for one key; and what a client needs to reach it. No PAM, no password."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.real.netns import Namespace
from tests.real.programs import Program, output, require


@dataclass
class Keys:
    """A host key, a user's key, and the client's configuration that knows both."""

    place: Path

    @property
    def config(self) -> Path:
        return self.place / "ssh_config"

    def known(self, hosts: Sequence[str], key: str = "host") -> None:
        """Have the client know these hosts by a key: `[10.0.0.1]:2222`."""
        public = " ".join((self.place / f"{key}.pub").read_text().split()[:2])
        (self.place / "known_hosts").write_text("".join(f"{host} {public}\n" for host in hosts))


def make_keys(place: Path) -> Keys:
    require("ssh-keygen", "ssh", "sshd")
    place.mkdir()
    for name in ("host", "other", "user"):
        output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name)
    os.link(place / "user.pub", place / "authorized_keys")
    keys = Keys(place)
    keys.config.write_text(
        f"Host *\n  IdentityFile {place}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {place}/known_hosts\n"
        "  GlobalKnownHostsFile none\n  IdentityAgent none\n"
    )
    return keys


def start_sshd(keys: Keys, side: Namespace, port: int, *lines: str, address: str = "") -> Program:
    """Start a server, and return when it listens."""
    Path("/run/sshd").mkdir(exist_ok=True)
    listen = address or side.address
    config = keys.place / f"sshd-{port}.conf"
    words = [
        f"ListenAddress {listen}", f"Port {port}", f"HostKey {keys.place}/host", "UsePAM no", "StrictModes no",
        f"AuthorizedKeysFile {keys.place}/authorized_keys", "PidFile none", "PasswordAuthentication no",
        "PermitRootLogin yes", "AllowUsers root", "Subsystem sftp internal-sftp", *lines,
    ]  # fmt: skip
    config.write_text("\n".join(words) + "\n")
    server = Program(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], config.with_suffix(".log"), side.enter)

    def ready() -> bool | None:
        return "Server listening" in server.log.read_text(errors="replace") or None

    server.wait_until(ready)
    return server


def start(side: Namespace, *words: str | Path) -> "subprocess.Popen[str]":
    """Start a program on a side without waiting for it."""
    command = [*side.enter, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_size(path: Path, size: int, seconds: float = 30) -> int:
    """Wait until a file is larger than `size`; its size."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.stat().st_size > size:
            return path.stat().st_size
        time.sleep(0.02)
    raise AssertionError(f"{path} did not reach {size} bytes")
