"""One layer in one pass: the package databases that it holds, and what it takes away from the layers below.

A layer is read as a stream with `transfer.archive`, which bounds compression and headers. What it says depends on
its bytes alone, so that it can be remembered by its digest. Not here: the image as a whole (`image`).
"""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from isthmus.errors import IsthmusError
from isthmus.report.packages import databases
from isthmus.report.packages.golang import LEAST, go_modules
from isthmus.report.packages.model import Package
from isthmus.report.packages.rpm import NotReadError, rpm
from isthmus.transfer.archive.opening import ArchiveFile, Stream, read_exactly
from isthmus.transfer.archive.tar import Member, read_members

MAX_DATABASE: Final = 64 * 1024 * 1024
MAX_SMALL: Final = 256 * 1024
MAX_FOUND: Final = 20_000
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"

_LARGE: Final[dict[str, Callable[[bytes], list[Package]]]] = {
    "var/lib/dpkg/status": databases.dpkg,
    "lib/apk/db/installed": databases.apk,
    "usr/lib/apk/db/installed": databases.apk,
    **{f"{place}/rpmdb.sqlite": rpm for place in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")},
}
_UNREAD: Final = frozenset(
    f"{place}/{name}"
    for place in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
    for name in ("Packages", "Packages.db")
)
_STATUS_D: Final = re.compile(r"var/lib/dpkg/status\.d/[^/]+(?<!\.md5sums)")
_PYTHON: Final = re.compile(r"(?:.+/)?[^/]+(?:\.dist-info/METADATA|\.egg-info/PKG-INFO)")
_COPYRIGHT: Final = re.compile(r"usr/share/doc/([^/]+)/copyright")
_RELEASES: Final = ("etc/os-release", "usr/lib/os-release")


class Database(msgspec.Struct, frozen=True):
    """A file of packages; `fault` says why it could not be read, if so."""

    path: str
    packages: tuple[Package, ...] = ()
    fault: str = ""


class LayerFacts(msgspec.Struct, frozen=True):
    """`hidden` are paths that the layer takes away, `opaque` directories whose lower contents it takes away.

    `licences` are those of Debian packages by name; `fault` says why the layer was not read to its end, if so.
    """

    databases: tuple[Database, ...] = ()
    hidden: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    licences: dict[str, str] = {}
    release: dict[str, str] = {}
    fault: str = ""


class _Found:
    """What has been seen of a layer so far."""

    def __init__(self) -> None:
        self.databases: dict[str, Database] = {}
        self.hidden: list[str] = []
        self.opaque: list[str] = []
        self.licences: dict[str, str] = {}
        self.release: dict[str, str] = {}

    def facts(self, fault: str = "") -> LayerFacts:
        return LayerFacts(
            tuple(self.databases[path] for path in sorted(self.databases)),
            tuple(sorted(self.hidden)),
            tuple(sorted(self.opaque)),
            dict(sorted(self.licences.items())),
            self.release,
            fault,
        )

    def full(self) -> bool:
        return len(self.databases) + len(self.licences) > MAX_FOUND


def read_layer(path: Path) -> LayerFacts:
    """Read a layer; what is wrong with it is said in `fault`, and what came before that is kept."""
    found = _Found()
    try:
        with closing(ArchiveFile(path)) as file, file.stream() as stream:
            for member in read_members(stream, "layer"):
                _take(member, stream, found)
                if found.full():
                    return found.facts(f"it has more than {MAX_FOUND} package files")
    except IsthmusError as error:
        return found.facts(error.message)
    return found.facts()


def _take(member: Member, stream: Stream, found: _Found) -> None:
    directory, _, name = member.name.rpartition("/")
    if name.startswith(_WHITEOUT):
        if name == _OPAQUE:
            found.opaque.append(directory)
        else:
            found.hidden.append(f"{directory}/{name[len(_WHITEOUT) :]}".lstrip("/"))
        return
    limit = _limit(member.name)
    if not limit:
        if member.size >= LEAST:
            _look_for_go(member, stream, found)
        return
    if member.kind != "file":
        found.hidden.append(member.name)  # a link or directory stands where a lower layer may have a database
        return
    if member.name in _UNREAD:
        found.databases[member.name] = Database(member.name, fault="a format of RPM that is not read")
        return
    if member.size > limit:
        found.databases[member.name] = Database(member.name, fault=f"it has {member.size} bytes")
        return
    data = read_exactly(stream, member.size, "layer") if member.size else b""
    _parse(member.name, data, found)


def _look_for_go(member: Member, stream: Stream, found: _Found) -> None:
    modules = go_modules(member, stream) if member.kind == "file" else []
    if modules:
        found.databases[member.name] = Database(member.name, tuple(modules))
    else:
        found.hidden.append(member.name)  # it may stand where a lower layer has a program of Go


def _parse(path: str, data: bytes, found: _Found) -> None:
    if match := _COPYRIGHT.fullmatch(path):
        if licence := databases.copyright_licences(data):
            found.licences[match[1]] = licence
    elif path in _RELEASES:
        found.release = databases.os_release(data) or found.release
    else:
        parse = _LARGE.get(path) or (databases.dpkg if _STATUS_D.fullmatch(path) else databases.python)
        try:
            found.databases[path] = Database(path, tuple(parse(data)))
        except NotReadError as error:
            found.databases[path] = Database(path, fault=str(error))


def _limit(path: str) -> int:
    """The most bytes that are read of a file, 0 for one that is of no interest."""
    if path in _LARGE or path in _UNREAD:
        return MAX_DATABASE
    if path.endswith(("/METADATA", "/PKG-INFO")):
        return MAX_SMALL if _PYTHON.fullmatch(path) else 0
    if path.startswith(("usr/share/doc/", "var/lib/dpkg/status.d/")):
        return MAX_SMALL if _COPYRIGHT.fullmatch(path) or _STATUS_D.fullmatch(path) else 0
    return MAX_SMALL if path in _RELEASES else 0
