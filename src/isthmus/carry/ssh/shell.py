"""A far side with a shell: any POSIX sh, `cat`, `dd`, `mv` and, to compare bytes, one of the usual SHA-256 tools.

Files are written at their place, not appended, so that the rest of an earlier try that still comes does no
harm. Nothing else is assumed there. Not here: a far side without a shell (`sftp`).
"""

import hashlib
import shlex
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from isthmus.bundle.medium import MediumFile
from isthmus.carry.ssh.failures import has_no_shell
from isthmus.carry.ssh.far import TAIL, Found, View, hash_of, read_through
from isthmus.carry.ssh.link import Link, Running
from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.oci.content import CHUNK

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_MARK: Final = "isthmus-far-side 1"
_MAX_GREETING: Final = 1024 * 1024
_MAX_LINE: Final = 64
_HASHERS: Final = {
    "sha256sum": "sha256sum",
    "shasum": "shasum -a 256",
    "sha256": "sha256 -q",
    "openssl": "openssl dgst -sha256 -r",
}
# Whatever a login shell prints before the mark is not ours.
_LOOK: Final = f"""
echo '{_MARK}'
for t in {" ".join(_HASHERS)}; do command -v $t >/dev/null 2>&1 && {{ echo "tool $t"; break; }}; done
if $MAKE; then mkdir -p -- "$D" || exit 1; fi
[ -d "$D" ] || {{ echo 'absent'; exit 0; }}
cd -- "$D" || exit 1
df -Pk . 2>/dev/null | awk 'NR == 2 && $4 ~ /^[0-9]+$/ {{ print "free " $4 }}'
while IFS= read -r n; do
  w=-; p=-
  [ -f "$n" ] && w=$(wc -c <"$n")
  [ -f "$n.part" ] && p=$(wc -c <"$n.part")
  echo "file" $w $p
done
"""


class NoShellError(Exception):
    """The far side only speaks SFTP."""


class Shell:
    """A directory behind a shell."""

    def __init__(self, link: Link, directory: str, *, read_back: bool) -> None:
        self._link = link
        self._directory = directory
        self._read_back = read_back
        self._hasher = ""

    @property
    def verified(self) -> str:
        """See `FarSide`."""
        return "sha256" if self._hasher else "read-back" if self._read_back else "size"

    def look(self, names: Sequence[str], *, create: bool) -> View:
        """See `FarSide`. Raises NoShellError."""
        make = "true" if create else "false"
        running = self.run(f"D={shlex.quote(self._directory)}; MAKE={make}{_LOOK}")
        # Answers come while names go: both at once, or each side would wait for the other.
        feeder = threading.Thread(target=running.feed, args=([f"{name}\n".encode() for name in names],))
        feeder.start()
        try:
            limit = _MAX_GREETING + _MAX_LINE * len(names)
            answer = running.stdout.read(limit)
            if len(answer) == limit:
                raise self._strange("it says too much")
            running.finish()
        except UnreachableError as error:
            if has_no_shell(running.complaint) or has_no_shell(answer[-400:].decode(errors="replace")):
                raise NoShellError from error
            raise
        finally:
            running.stop(feeder)
        before, mark, after = answer.decode(errors="replace").partition(f"{_MARK}\n")
        if not mark:
            if has_no_shell(before):
                raise NoShellError
            raise self._strange("it did not run a POSIX shell")
        return self._understand(after.splitlines(), len(names))

    def _understand(self, lines: Sequence[str], count: int) -> View:
        free: int | None = None
        found: list[Found] = []
        for line in lines:
            words = line.split()
            if words[:1] == ["tool"] and len(words) == 2 and words[1] in _HASHERS:
                self._hasher = _HASHERS[words[1]]
            elif words[:1] == ["free"] and len(words) == 2:
                free = _number(words[1])
                free = None if free is None else free * 1024
            elif words == ["absent"]:
                found = [Found()] * count
            elif words[:1] == ["file"] and len(words) == 3:
                found.append(Found(_number(words[1]), _number(words[2])))
        if len(found) != count:
            raise self._strange("it did not answer for every file")
        return View(found, free)

    def same(self, name: str, source: MediumFile, length: int) -> "Hash | None":
        """See `FarSide`."""
        if not length:
            return hashlib.sha256()
        if not self._hasher:
            return self._same_bytes(name, source, length)
        running = self.run(f"head -c {length} <{self._path(name)} | {self._hasher}")
        try:
            digest = hash_of(source, length)
            answer = running.stdout.read(4096).decode(errors="replace").split()
            running.finish()
        finally:
            running.stop()
        return digest if answer[:1] == [digest.hexdigest()] else None

    def _same_bytes(self, name: str, source: MediumFile, length: int) -> "Hash | None":
        start = 0 if self._read_back else max(0, length - TAIL)
        running = self.run(f"head -c {length} <{self._path(name)} | tail -c {length - start}")
        try:
            alike = all(running.stdout.read(len(piece)) == piece for piece in read_through(source, start, length))
            if alike:
                running.finish()
        finally:
            running.stop()
        return hash_of(source, length) if alike else None

    def write(self, name: str, offset: int, pieces: Iterable[memoryview]) -> None:
        """See `FarSide`."""
        path = self._path(name)
        parent = name.rpartition("/")[0]
        make = f"mkdir -p -- {self._path(parent)} && " if parent and not offset else ""
        seek = f"dd bs=1 seek={offset} count=0 conv=notrunc </dev/null 2>/dev/null"
        running = self.run(f"{make}{{ {seek} && exec cat; }} 1<>{path}" if offset else f"{make}exec cat >{path}")
        try:
            running.feed(pieces)
            running.finish()
        finally:
            running.stop()

    def commit(self, part: str, name: str, source: MediumFile, sha256: str) -> None:
        """See `FarSide`."""
        if self._hasher:
            check = f'[ "$({self._hasher} <{self._path(part)} | cut -c 1-64)" = {sha256} ] || exit 9; '
        else:
            check = f'[ "$(wc -c <{self._path(part)})" -eq {source.size} ] || exit 9; '
            if self._read_back and self._same_bytes(part, source, source.size) is None:
                raise differs(self._link.where, name)
        flush = f"sync {self._path(part)} 2>/dev/null; "
        running = self.run(f"{check}{flush}mv -f -- {self._path(part)} {self._path(name)}")
        try:
            running.feed(())
            if running.finish((0, 9)) == 9:
                raise differs(self._link.where, name)
        finally:
            running.stop()

    def close(self) -> None:
        """Nothing runs between the calls."""

    def run(self, script: str) -> Running:
        """Start a script there; the login shell may be any."""
        return self._link.start(f"exec sh -c {shlex.quote(script)}")

    def _path(self, name: str) -> str:
        return shlex.quote(f"{self._directory.rstrip('/')}/{name}")

    def _strange(self, why: str) -> UnreachableError:
        return UnreachableError(
            "protocol", f"the far side's shell gave no sense: {why}", where=self._link.where,
            hint="use sftp:// where the server has no usual shell",
        )  # fmt: skip


def differs(where: str, name: str) -> VerificationError:
    """Say that what arrived is not what was sent."""
    return VerificationError(
        "digest-mismatch", f"{name} is not the same on the far side", where=where,
        hint="the file there keeps the name NAME.part; run the same command again, and it is sent anew",
    )  # fmt: skip


def lines_of(stream: Iterable[bytes]) -> Iterator[str]:
    """A program's output for people, line by line, without what could move a terminal's cursor."""
    for line in stream:
        text = line[:CHUNK].decode(errors="replace").rstrip("\r\n")
        yield "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in text)


def _number(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 20 else None


def sane(directory: str) -> str:
    """A directory that no program takes for an option. Raises UsageError `wrong-usage`."""
    if not directory.startswith(("/", "./")):
        raise UsageError("wrong-usage", "the directory on the far side must be absolute, or /~/ and a name")
    return directory
