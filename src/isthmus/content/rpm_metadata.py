"""The metadata of an RPM repository: repomd.xml and primary.xml, read as a stream, with limits, without entities.

Not here: fetching (`rpm`), who depends on whom (`rpm_closure`).
"""

from collections.abc import Callable, Iterator
from typing import IO
from xml.parsers import expat

import msgspec

from isthmus.content.naming import checked_path
from isthmus.errors import UsageError
from isthmus.oci import Digest
from isthmus.oci.content import CHUNK

MAX_REPOMD = 4 << 20
MAX_TEXT = 4096
MAX_PACKAGES = 500_000
MAX_ENTRIES = 20_000_000
MAX_DEPTH = 32

Attributes = dict[str, str]


class Part(msgspec.Struct, frozen=True):
    """A file of the metadata, by its type in repomd.xml (`primary`, `filelists`…)."""

    type: str
    path: str
    digest: Digest
    size: int


class Entry(msgspec.Struct, frozen=True):
    """Something that is required or provided; `flags` (EQ, GE…) say how `version` is meant."""

    name: str
    flags: str = ""
    version: tuple[str, str, str] = ("", "", "")


class Rpm(msgspec.Struct, frozen=True):
    """A package. `version` is epoch, version and release."""

    name: str
    arch: str
    version: tuple[str, str, str]
    path: str
    digest: Digest
    size: int
    provides: tuple[Entry, ...] = ()
    requires: tuple[Entry, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """NAME-VERSION-RELEASE.ARCH."""
        return f"{self.name}-{self.version[1]}-{self.version[2]}.{self.arch}"


class _Stop(Exception):  # noqa: N818 - leaves expat, and becomes an error of ours
    pass


def read_repomd(data: bytes, where: str) -> tuple[Part, ...]:
    """The files that repomd.xml lists. Raises UsageError (`invalid-input`)."""
    reader = _Repomd()
    _parse(iter([data]), reader.start, reader.end, reader.text, where)
    return tuple(reader.parts)


def read_primary(stream: IO[bytes], take: Callable[[Rpm], None], where: str, limit: int) -> None:
    """Give every package of primary.xml to `take`. Raises UsageError (`invalid-input`)."""
    reader = _Primary(take)

    def chunks() -> Iterator[bytes]:
        left = limit
        while data := stream.read(CHUNK):
            left -= len(data)
            if left < 0:
                raise _Stop(f"it unpacks to more than {limit >> 20} MiB")
            yield data

    _parse(chunks(), reader.start, reader.end, reader.text, where)


def _parse(
    chunks: Iterator[bytes],
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
    where: str,
) -> None:
    depth = 0

    def opened(name: str, attributes: Attributes) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise _Stop("it is nested too deeply")
        start(name.rpartition(" ")[2], attributes)

    def closed(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(name.rpartition(" ")[2])

    def refuse(*_: object) -> None:
        raise _Stop("it defines a document type or entities")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        for data in chunks:
            parser.Parse(data, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise _wrong(str(error)[:200], where) from error
    except _Stop as error:
        raise _wrong(str(error), where) from error
    except (UsageError, ValueError, KeyError, OverflowError) as error:
        raise _wrong(f"something in it cannot be used: {str(error)[:200]}", where) from error


def _wrong(why: str, where: str) -> UsageError:
    return UsageError("invalid-input", f"not metadata of an RPM repository: {why}", where=where)


class _Text:
    """The text of the element that is open."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._size = 0

    def clear(self) -> None:
        self._text, self._size = [], 0

    def text(self, data: str) -> None:
        self._size += len(data)
        if self._size <= MAX_TEXT:
            self._text.append(data)

    @property
    def value(self) -> str:
        if self._size > MAX_TEXT:
            raise _Stop(f"a text is longer than {MAX_TEXT} characters")
        return "".join(self._text).strip()


class _Repomd(_Text):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Part] = []
        self._type = self._path = self._digest = ""
        self._size_text = "0"

    def start(self, name: str, attributes: Attributes) -> None:
        self.clear()
        if name == "data":
            self._type, self._path, self._digest, self._size_text = attributes.get("type", ""), "", "", "0"
        elif name == "location":
            self._path = attributes.get("href", "")
        elif name == "checksum" and attributes.get("type") not in ("sha256", "sha512"):
            raise _Stop("its checksums are not SHA-256 or SHA-512")
        elif name == "checksum":
            self._digest = attributes["type"]

    def end(self, name: str) -> None:
        if name == "checksum":
            self._digest = f"{self._digest}:{self.value}"
        elif name == "size":
            self._size_text = self.value
        elif name == "data" and self._type:
            if len(self.parts) > 1000:
                raise _Stop("it lists too many files")
            path = checked_path(self._path)
            self.parts.append(Part(self._type, path, Digest(self._digest), _number(self._size_text)))
        self.clear()


class _Primary(_Text):
    def __init__(self, take: Callable[[Rpm], None]) -> None:
        super().__init__()
        self._take = take
        self._count = self._entries = 0
        self._reset()

    def _reset(self) -> None:
        self._name = self._arch = self._path = self._kind = ""
        self._version = ("", "", "")
        self._digest = self._size_text = ""
        self._lists: dict[str, list[Entry]] = {"provides": [], "requires": []}
        self._files: list[str] = []
        self._list = ""

    def start(self, name: str, attributes: Attributes) -> None:
        self.clear()
        if name == "package":
            self._reset()
        elif name == "version":
            self._version = _version(attributes)
        elif name == "location":
            self._path = attributes.get("href", "")
        elif name == "size":
            self._size_text = attributes.get("package", "0")
        elif name == "checksum":
            self._kind = attributes.get("type", "")
        elif name in ("provides", "requires"):
            self._list = name
        elif name == "entry" and self._list:
            self._count_one()
            entry = Entry(attributes.get("name", "")[:MAX_TEXT], attributes.get("flags", ""), _version(attributes))
            self._lists[self._list].append(entry)

    def end(self, name: str) -> None:
        if name in ("provides", "requires"):
            self._list = ""
        elif name == "name" and not self._name:
            self._name = self.value
        elif name == "arch":
            self._arch = self.value
        elif name == "checksum":
            self._digest = self.value
        elif name == "file":
            self._count_one()
            self._files.append(self.value)
        elif name == "package":
            self._finish()
        self.clear()

    def _count_one(self) -> None:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise _Stop("it lists too much")

    def _finish(self) -> None:
        self._count += 1
        if self._count > MAX_PACKAGES:
            raise _Stop(f"it lists more than {MAX_PACKAGES} packages")
        if self._kind not in ("sha256", "sha512"):
            raise _Stop("its checksums are not SHA-256 or SHA-512")
        self._take(
            Rpm(
                name=self._name,
                arch=self._arch,
                version=self._version,
                path=checked_path(self._path),
                digest=Digest(f"{self._kind}:{self._digest}"),
                size=_number(self._size_text),
                provides=tuple(self._lists["provides"]),
                requires=tuple(self._lists["requires"]),
                files=tuple(self._files),
            )
        )


def _version(attributes: Attributes) -> tuple[str, str, str]:
    return (attributes.get("epoch", "") or "", attributes.get("ver", "")[:200], attributes.get("rel", "")[:200])


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _Stop(f"{text[:40]!r} is no number")
    return int(text)
