"""Layers: gzip-compressed tars with the same bytes each time, from a root file system or from packages.

Packages become a layer by joining their archives; nothing is unpacked to disk. Paths are moved below /usr
where the base has a symlink instead of a directory, else the layer would hide the base's /bin and /lib.
"""

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from bench.images.debian import EPOCH, BuildError
from bench.images.table import BUSYBOX_APPLETS

# What the building machine put there (its resolver, name and mirror), caches, and devices.
_FROM_THE_BUILDER = (
    "dev/", "etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", "etc/hostname", "etc/resolv.conf",
    "var/cache/ldconfig/", "var/log/", "var/lib/apt/lists/",
)  # fmt: skip
_DOCUMENTATION = tuple(f"usr/share/{name}/" for name in ("doc", "man", "locale", "info", "lintian"))
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Layer:
    """A finished layer: a compressed blob and the digest of what is in it."""

    digest: str
    size: int
    diff_id: str


class LayerWriter:
    """Writes one layer into a directory of blobs; the blob gets its name when it is complete."""

    def __init__(self, blobs: Path, label: str) -> None:
        self._blobs = blobs
        self._partial = blobs / f".{label}.partial"
        self._file = self._partial.open("wb")
        self._compressor = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self._file, mtime=0)
        self._inside = hashlib.sha256()
        self._seen: set[str] = set()
        self._position = 0
        self._tar = tarfile.TarFile(fileobj=cast("IO[bytes]", self), mode="w", format=tarfile.GNU_FORMAT)

    def write(self, data: bytes) -> int:
        """Take bytes of the tar (this object is the tar's file)."""
        self._inside.update(data)
        self._position += len(data)
        return self._compressor.write(data)

    def tell(self) -> int:
        """Say how far the tar is."""
        return self._position

    def add(self, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        """Add one member once; packages repeat the directories they share."""
        if member.name in self._seen:
            return
        self._seen.add(member.name)
        member.mtime = min(int(member.mtime), EPOCH)
        member.pax_headers = {}
        self._tar.addfile(member, content)

    def add_bytes(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file made here."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        self.add(member, io.BytesIO(content))

    def finish(self) -> Layer:
        """Close everything and move the blob to its name."""
        self._tar.close()
        self._compressor.close()
        self._file.close()
        with self._partial.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = self._partial.stat().st_size
        self._partial.rename(self._blobs / digest)
        return Layer(f"sha256:{digest}", size, f"sha256:{self._inside.hexdigest()}")


def base_layer(root: Path, blobs: Path, label: str) -> Layer:
    """Make a layer of the base's tar without what belongs to the machine that built it."""
    writer = LayerWriter(blobs, label)
    with tarfile.open(root, "r|") as tar:
        for member in tar:
            member.name = _plain(member.name)
            if member.name and not member.name.startswith(_FROM_THE_BUILDER):
                if member.islnk():
                    member.linkname = _plain(member.linkname)
                writer.add(member, tar.extractfile(member) if member.isreg() else None)
    return writer.finish()


def package_layer(packages: Iterable[Path], blobs: Path, label: str) -> Layer:
    """Join the files of the packages, each with its control data where scanners of images look."""
    writer = LayerWriter(blobs, label)
    for package in packages:
        _copy(package, writer)
        control = _dpkg_deb("--field", package)
        writer.add_bytes(f"var/lib/dpkg/status.d/{package.name.partition('_')[0]}", control)
    return writer.finish()


def busybox_layer(package: Path, blobs: Path, label: str) -> Layer:
    """Make a whole root file system of one static binary and links to it."""
    with tarfile.open(fileobj=io.BytesIO(_dpkg_deb("--fsys-tarfile", package))) as tar:
        name = next(name for name in tar.getnames() if name.endswith("/busybox") and "bin/" in name)
        binary = tar.extractfile(name)
        assert binary is not None
        content = binary.read()
    writer = LayerWriter(blobs, label)
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        directory = tarfile.TarInfo(name)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        writer.add(directory, None)
    writer.add_bytes("bin/busybox", content, 0o755)
    for applet in BUSYBOX_APPLETS:
        link = tarfile.TarInfo(f"bin/{applet}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        writer.add(link, None)
    writer.add_bytes("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    return writer.finish()


def _copy(package: Path, writer: LayerWriter) -> None:
    with tarfile.open(fileobj=io.BytesIO(_dpkg_deb("--fsys-tarfile", package))) as tar:
        for member in tar:
            name = _below_usr(_plain(member.name))
            if not name or name in _MERGED or name.startswith(_DOCUMENTATION):
                continue
            content = tar.extractfile(member) if member.isreg() else None
            member.name = name
            if member.islnk():
                member.linkname = _below_usr(_plain(member.linkname))
            writer.add(member, content)


def _dpkg_deb(option: str, package: Path) -> bytes:
    done = subprocess.run(["dpkg-deb", option, str(package)], capture_output=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"dpkg-deb {option} {package.name}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _plain(name: str) -> str:
    return name.removeprefix("./").strip("/") if name not in (".", "./") else ""


def _below_usr(name: str) -> str:
    top, slash, _ = name.partition("/")
    return f"usr/{name}" if slash and top in _MERGED else name
