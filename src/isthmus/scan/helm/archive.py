"""Unpacks a chart's .tgz archive; nothing in it can land outside the folder, nor grow without limit.

Not here: fetching archives (`fetch`), and what a chart holds (`metadata`).
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

from isthmus.errors import UnreachableError, UsageError

MAX_TOTAL = 256 << 20
MAX_FILE = 64 << 20
MAX_FILES = 20_000


def unpack_chart(archive: str, folder: str) -> str:
    """Unpack into `folder` and return the directory of the chart, the one that holds Chart.yaml.

    Raises UsageError (`file-not-found`, `invalid-input`) at the archive, or UnreachableError (`io-failed`).
    """
    try:
        with open(archive, "rb") as file:
            for name, content in _files(file, archive):
                _write(os.path.join(folder, name), content)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such archive", where=archive) from error
    except (tarfile.TarError, zlib.error, EOFError, ValueError, UnicodeError) as error:
        raise _refuse(archive, f"it is not an archive of a chart: {error}") from error
    except OSError as error:
        if isinstance(error, IsADirectoryError) or error.strerror is None:
            raise _refuse(archive, f"it is not an archive of a chart: {error}") from error
        raise UnreachableError("io-failed", f"it cannot be unpacked: {error.strerror}", where=archive) from error
    return _chart_directory(folder, archive)


def _files(file: IO[bytes], archive: str) -> Iterator[tuple[str, bytes]]:
    """The regular files of the archive by safe names."""
    room, count = MAX_TOTAL, 0
    with gzip.GzipFile(fileobj=file, mode="rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            count += 1
            if count > MAX_FILES:
                raise _refuse(archive, f"it holds more than {MAX_FILES} files")
            if member.isdir() or member.type in (tarfile.XGLTYPE, tarfile.XHDTYPE):
                continue
            if not member.isreg():
                raise _refuse(archive, f"{member.name[:200]!r} is a link or a device, which no chart needs")
            _check_name(member.name, archive)
            room -= member.size
            if member.size > MAX_FILE or room < 0:
                raise _refuse(archive, f"unpacked it is larger than {MAX_TOTAL >> 20} MiB")
            content = tar.extractfile(member)
            assert content is not None
            yield member.name, content.read()
        # tarfile takes a missing end for an end; the checksum of gzip, behind everything, does not.
        while part := stream.read(1 << 20):
            room -= len(part)
            if room < 0:
                raise _refuse(archive, f"unpacked it is larger than {MAX_TOTAL >> 20} MiB")


def _check_name(name: str, archive: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or len(name) > 1000:
        raise _refuse(archive, f"{name[:200]!r} would be written outside the chart")


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def _chart_directory(folder: str, archive: str) -> str:
    for name in sorted(os.listdir(folder)):
        if os.path.isfile(os.path.join(folder, name, "Chart.yaml")):
            return os.path.join(folder, name)
    raise _refuse(archive, "it holds no NAME/Chart.yaml")


def _refuse(archive: str, why: str) -> UsageError:
    return UsageError("invalid-input", why, where=archive)
