"""Indexes of a part of a Debian repository, made anew and signed with the site's own OpenPGP key.

Only stanzas of the original lists are kept, as they are. Not here: which ones (`debian_apt`).
"""

import gzip
import hashlib
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from isthmus.content.debian_release import Release
from isthmus.errors import UnreachableError, UsageError

MAX_STANZA = 1 << 20
_KEPT = ("Origin", "Label", "Suite", "Version", "Codename", "Description")


def reduced(packages: Path, wanted: Collection[str], where: str) -> bytes:
    """The stanzas of a list of packages that name one of these paths."""
    found = []
    for stanza in _stanzas(packages, where):
        names = [
            line[10:].strip()
            for line in stanza.decode("utf-8", "replace").splitlines()
            if line.startswith("Filename: ")
        ]
        if names and names[0].removeprefix("./") in wanted:
            found.append(stanza)
    return b"".join(stanza + b"\n" for stanza in found)


def release_files(
    lists: Mapping[str, bytes], release: Release, architectures: Collection[str], components: Collection[str],
    key: str, where: str,
) -> dict[str, bytes]:  # fmt: skip
    """Every file below `dists/SUITE/`: the lists, plain and compressed, Release, Release.gpg and InRelease.

    `lists` are the reduced lists by path (`main/binary-amd64/Packages`). Raises UsageError (`invalid-key`).
    """
    files: dict[str, bytes] = {}
    for path, data in lists.items():
        files[path] = data
        files[f"{path}.gz"] = gzip.compress(data, 9, mtime=0)
    date = release.date or datetime.fromtimestamp(0, UTC)
    fields = {name: release.fields.get(name.lower(), "") for name in _KEPT}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    lines += [f"Date: {format_datetime(date.astimezone(UTC)).replace('+0000', 'UTC')}"]
    lines += [f"Architectures: {' '.join(sorted(architectures))}", f"Components: {' '.join(components)}"]
    if "packages" in release.fields.get("no-support-for-architecture-all", "").lower():
        lines.append("No-Support-for-Architecture-all: Packages")
    lines.append("SHA256:")
    lines += [
        f" {hashlib.sha256(data).hexdigest()} {len(data):>16} {path}" for path, data in sorted(files.items())
    ]
    text = ("\n".join(lines) + "\n").encode()
    inline, detached = _sign(text, key, date, where)
    return {**files, "Release": text, "Release.gpg": detached, "InRelease": inline}


def _stanzas(path: Path, where: str) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    try:
        with open(path, "rb") as file:
            while line := file.readline(MAX_STANZA):
                if line.strip():
                    held.append(line)
                    size += len(line)
                    if size > MAX_STANZA:
                        raise UsageError("invalid-input", "a stanza of the list is too long", where=where)
                elif held:
                    yield b"".join(held)
                    held, size = [], 0
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error
    if held:
        yield b"".join(held)


def _sign(text: bytes, key: str, date: datetime, where: str) -> tuple[bytes, bytes]:
    """Inline and detached; as of the suite's date where the key allows, so that it is the same bytes each time."""
    if not Path(key).is_file():
        raise UsageError("file-not-found", "there is no such key", where=key)
    with tempfile.TemporaryDirectory(prefix="isthmus-gpg-") as home:
        Path(home).chmod(0o700)
        base = ["gpg", "--homedir", home, "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback",
                "--digest-algo", "SHA256"]  # fmt: skip
        try:
            _run([*base, "--passphrase", "", "--import", key], b"", where)
            dated = ["--faked-system-time", f"{date:%Y%m%dT%H%M%S}!"]
            try:
                inline = _run([*base, *dated, "--passphrase", "", "--clearsign"], text, where)
            except UsageError:
                dated = []
                inline = _run([*base, "--passphrase", "", "--clearsign"], text, where)
            detached = _run([*base, *dated, "--passphrase", "", "--armor", "--detach-sign"], text, where)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True, check=False)
    return inline, detached


def _run(command: list[str], given: bytes, where: str) -> bytes:
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)
    except FileNotFoundError as error:
        raise UsageError(
            "wrong-usage", "there is no gpg on this machine", where=where, hint="install gnupg"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError("io-failed", "gpg did not end", where=where) from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-200:]
        raise UsageError("invalid-key", f"gpg cannot sign with this key: {said}", where=where)
    return done.stdout
