"""Questions to who gets alerts, and to SSH, by which files are brought. Nothing is sent that anybody reads."""

import re
import shutil
import socket
import subprocess
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from isthmus.check.environment import web
from isthmus.check.environment.probe import TIMEOUT, Outcome, Question, skipped
from isthmus.check.environment.services import Service

_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}", re.ASCII)


class Receiver(msgspec.Struct, frozen=True):
    """Somebody who gets alerts: `target` is a URL, or `host:port` of a mail server or syslog listener."""

    name: str
    kind: Literal["email", "webhook", "syslog-tcp", "syslog-udp"]
    target: str
    address: str = ""


def receiver_question(receiver: Receiver, ca: str) -> Question:
    """Whether a receiver can be reached: by HEAD, by the mail server's greeting, or by a connection."""
    asked = f"{receiver.name}: {receiver.target}"
    if receiver.kind == "syslog-udp":
        return skipped("alerts", asked, "UDP says nothing back", "send a test alert and look")

    def ask() -> tuple[Outcome, str, str]:
        if receiver.kind == "webhook":
            reply = web.ask("HEAD", receiver.target, web.context_for(ca), address=receiver.address)
            # Receivers take POST alone: that HEAD is refused says as well that somebody is there.
            return ("pass" if reply.status < 500 else "fail"), f"{reply.status}", ""
        parts = urlsplit(f"//{receiver.target}")
        usual = 25 if receiver.kind == "email" else 514
        place = (receiver.address or parts.hostname or "", parts.port or usual)
        with socket.create_connection(place, TIMEOUT) as sock:
            if receiver.kind != "email":
                return "pass", "it takes connections", ""
            greeting = _line(sock)
            sock.sendall(b"QUIT\r\n")
        return ("pass" if greeting.startswith("220") else "fail"), greeting or "it says nothing", ""

    return Question("alerts", asked, ask)


def upload_question(upload: str, files: Service) -> Question:
    """Whether files can be brought to the file server by SSH: with a login, by one; otherwise by its greeting."""
    target = urlsplit(upload if "://" in upload else f"ssh://{upload}") if upload else None
    host = (target.hostname if target else urlsplit(files.url).hostname) or ""
    port = (target.port if target else None) or 22
    user = target.username if target else None
    asked = f"ssh://{user + '@' if user else ''}{host}:{port}"
    if user:
        return Question("files-upload", f"{asked}: a login without a password", lambda: _login(user, host, port))
    address = files.address if host == urlsplit(files.url).hostname else ""

    def ask() -> tuple[Outcome, str, str]:
        hint = "bundles can also come on a medium, or by `isthmus receive`; --upload ssh://USER@HOST names another"
        try:
            with socket.create_connection((address or host, port), TIMEOUT) as sock:
                greeting = _line(sock)
        except OSError as error:
            return "skip", f"no SSH there: {error.strerror or error}", hint
        return ("pass" if greeting.startswith("SSH-") else "fail"), greeting or "it says nothing", ""

    return Question("files-upload", asked, ask)


def _login(user: str, host: str, port: int) -> tuple[Outcome, str, str]:
    if not _USER.fullmatch(user) or not _HOST.fullmatch(host):
        return "fail", "that is no user and host", ""
    program = shutil.which("ssh")
    if program is None:
        return "skip", "ssh is not installed here", ""
    options = ("BatchMode=yes", f"ConnectTimeout={TIMEOUT:.0f}", "ForwardAgent=no", "ClearAllForwardings=yes")
    command = [program, *(word for option in options for word in ("-o", option)), "-p", str(port)]
    try:
        done = subprocess.run(
            [*command, "-l", user, "--", host, "exit 0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=3 * TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "fail", "no login within 15 s", ""
    if done.returncode == 0:
        return "pass", "logged in", ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return (
        "fail",
        (said[-1][:200] if said else f"ssh ended with {done.returncode}"),
        "ssh-copy-id, and known_hosts",
    )


def _line(sock: socket.socket) -> str:
    """The first line that comes, at most 512 bytes and within the time that one question may take."""
    data = b""
    while b"\n" not in data and len(data) < 512:
        more = sock.recv(512)
        if not more:
            break
        data += more
    text = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    return "".join(letter for letter in text if letter.isprintable())[:200]
