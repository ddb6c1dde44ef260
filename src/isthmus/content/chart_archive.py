"""What a packaged chart says of itself: the name and version in its Chart.yaml, read within limits.

Not here: rendering it (`scan.helm`).
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.yaml_builder import build

MAX_MEMBERS = 20_000
MAX_UNPACKED = 256 << 20
MAX_CHART_YAML = 1 << 20


class ChartMetadata(msgspec.Struct, frozen=True):
    """Name and version, as text."""

    name: str
    version: str


class _Limited:
    """A stream that ends with an error where more comes out of an archive than a chart can be."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = MAX_UNPACKED

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        data = self._stream.read(min(size, 1 << 20) if size >= 0 else 1 << 20)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it unpacks to more than a chart can be")
        return data


def chart_metadata(path: Path, where: str) -> ChartMetadata:
    """Read `CHART/Chart.yaml` of a .tgz. Raises UsageError (`invalid-input`), also for whatever is hostile."""
    try:
        with gzip.open(path, "rb") as stream:
            data = next(_chart_yaml(cast("IO[bytes]", stream)), None)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile) and error.errno:
            raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error
        raise _wrong(str(error)[:200] or type(error).__name__, where) from error
    if data is None:
        raise _wrong("it has no Chart.yaml", where)
    try:
        documents = build(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise _wrong("its Chart.yaml is not UTF-8 text", where) from error
    chart = documents[0] if documents and isinstance(documents[0], dict) else {}
    name, version = chart.get("name"), chart.get("version")
    if not isinstance(name, str) or not isinstance(version, str | int | float) or not name:
        raise _wrong("its Chart.yaml has no name and version", where)
    return ChartMetadata(name, str(version))


def _chart_yaml(stream: IO[bytes]) -> Iterator[bytes]:
    limited = cast("IO[bytes]", _Limited(stream))
    with tarfile.open(fileobj=limited, mode="r|") as archive:
        for count, member in enumerate(archive):
            if count > MAX_MEMBERS:
                raise ValueError("it has more members than a chart can have")
            if member.isreg() and member.name.count("/") == 1 and member.name.endswith("/Chart.yaml"):
                if member.size > MAX_CHART_YAML:
                    raise ValueError("its Chart.yaml is too large")
                file = archive.extractfile(member)
                if file is not None:
                    yield file.read(MAX_CHART_YAML)
                return


def _wrong(why: str, where: str) -> UsageError:
    return UsageError("invalid-input", f"not a packaged chart: {why}", where=where)
