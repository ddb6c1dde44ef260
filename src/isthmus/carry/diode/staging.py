"""What a receiver has, on disk: the files, sparse, and a bit for each symbol that is in them.

Data is on the medium before its bits are, so that a receiver that was killed, or lost its power, goes on with the
next pass. Files get their names once all of them have their SHA-256. Not here: datagrams, decoding (`assembling`).
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from isthmus.bundle.medium import failed, io_errors
from isthmus.carry.diode.catalogue import MAX_CATALOGUE, Catalogue, SentFile, hash_of, read_catalogue
from isthmus.errors import UnreachableError, UsageError

_PREFIX: Final = ".diode-"
_CATALOGUE: Final = "catalogue.json"
_MAP: Final = "symbols.map"
_VERIFIED: Final = "verified"
_OPEN_FILES: Final = 64
_MOST_STAGED: Final = 16
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_TO_DIGITS: Final = bytes.maketrans(b"\0\1", b"01")
_FROM_DIGITS: Final = bytes.maketrans(b"01", b"\0\1")


def staged(directory: Path) -> Iterator[Catalogue]:
    """The sessions that were begun in a directory, newest first, sixteen at most."""
    try:
        found = sorted(directory.glob(_PREFIX + "*"), key=lambda path: path.lstat().st_mtime_ns, reverse=True)
        for place in found[:_MOST_STAGED]:
            with contextlib.suppress(ValueError, FileNotFoundError), open(place / _CATALOGUE, "rb") as file:
                catalogue = read_catalogue(file.read(MAX_CATALOGUE + 1))
                if place.name == _PREFIX + catalogue.session.hex():
                    yield catalogue
    except OSError as error:
        raise failed(error, directory) from error


class Staging:
    """One session's files. Raises UnreachableError `io-failed` wherever the system refuses something."""

    def __init__(self, directory: Path, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.directory = directory
        self.place = directory / (_PREFIX + catalogue.session.hex())
        self._open_files: dict[int, int] = {}
        self._dirty: set[int] = set()
        self._bits: dict[int, bytes] = {}
        self._bytes_a_group = -(-catalogue.in_group // 8)
        with io_errors(self.place):
            self.place.mkdir(parents=True, exist_ok=True)
            self._check_room()
            self._map = os.open(self.place / _MAP, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
            os.ftruncate(self._map, self._bytes_a_group * catalogue.groups)
            self._prepare()
            _write(self.place / _CATALOGUE, catalogue.raw)

    @property
    def _verified(self) -> bool:
        return (self.place / _VERIFIED).exists()

    def _check_room(self) -> None:
        there = sum(path.lstat().st_blocks * 512 for path in self.place.rglob("*"))
        system = os.statvfs(self.place)
        if self.catalogue.bytes > system.f_bavail * system.f_frsize + there:
            raise UnreachableError(
                "io-failed", f"there is no room for {self.catalogue.bytes} bytes", where=str(self.directory)
            )

    def _prepare(self) -> None:
        if self._verified:
            return
        for number, file in enumerate(self.catalogue.files):
            path = self._path(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o644)
                try:
                    os.ftruncate(descriptor, file.size)
                finally:
                    os.close(descriptor)

    def have(self, group: int) -> bytearray:
        """A byte for each symbol that a group may have: 1 where it is here."""
        data = self._bits.get(group)
        if data is None:
            with io_errors(self.place):
                data = os.pread(self._map, self._bytes_a_group, group * self._bytes_a_group)
        digits = f"{int.from_bytes(data, 'little'):0{self.catalogue.in_group}b}"[::-1]
        return bytearray(digits.encode().translate(_FROM_DIGITS))

    def keep(self, group: int, have: bytearray) -> None:
        """Remember the bits of a group until the next `checkpoint`."""
        value = int(have.translate(_TO_DIGITS)[::-1], 2)
        self._bits[group] = value.to_bytes(self._bytes_a_group, "little")

    def write(self, number: int, payload: memoryview) -> None:
        """Put a symbol where it belongs."""
        place = self.catalogue.place(number)
        with io_errors(self.place):
            if os.pwrite(self._file(place.file), payload[: place.length], place.offset) != place.length:
                raise OSError(28, "no space left on device")
        self._dirty.add(place.file)

    def read(self, number: int, view: memoryview) -> None:
        """A symbol that is here, zeros behind it."""
        place = self.catalogue.place(number)
        with io_errors(self.place):
            os.preadv(self._file(place.file), [view[: place.length]], place.offset)

    def checkpoint(self) -> None:
        """Bring data, and then its bits, onto the medium."""
        if not self._bits:
            return
        with io_errors(self.place):
            for number in self._dirty:
                os.fdatasync(self._file(number))
            for group, data in self._bits.items():
                os.pwrite(self._map, data, group * self._bytes_a_group)
        self._dirty.clear()
        self._bits.clear()

    def wrong_files(self) -> list[int]:
        """The files that do not have their SHA-256; all of their symbols are forgotten. None where all is well."""
        if self._verified:
            return []
        wrong = []
        with io_errors(self.place):
            for number, file in enumerate(self.catalogue.files):
                if hash_of(self._file(number)) != file.sha256:
                    wrong.append(number)
                    self._forget(number)
                else:
                    os.fsync(self._file(number))
            if not wrong:
                _write(self.place / _VERIFIED, b"")
        self.checkpoint()
        return wrong

    def _forget(self, file: int) -> None:
        numbers = self.catalogue.symbols_of(file)
        size = self.catalogue.in_group
        for group in range(numbers.start // size, -(-numbers.stop // size)):
            have = self.have(group)
            for number in range(max(numbers.start, group * size), min(numbers.stop, (group + 1) * size)):
                have[number - group * size] = 0
            self.keep(group, have)

    def publish(self) -> None:
        """Give the verified files their names; goes on where it was killed.

        Raises UsageError `file-exists` where another file has such a name.
        """
        if lies := conflicts(self.directory, self.catalogue):
            raise UsageError("file-exists", "another file has this name", where=lies[0], items=lies)
        self.close()
        with io_errors(self.directory):
            for number, file in enumerate(self.catalogue.files):
                final = self.directory / file.path
                with contextlib.suppress(FileNotFoundError):
                    final.parent.mkdir(parents=True, exist_ok=True)
                    os.rename(self._path(number), final)
            for parent in {(self.directory / file.path).parent for file in self.catalogue.files}:
                _sync_directory(parent)
            shutil.rmtree(self.place)

    def close(self) -> None:
        """Close all files; what was not checkpointed comes with the next pass."""
        for descriptor in self._open_files.values():
            os.close(descriptor)
        self._open_files.clear()
        if self._map >= 0:
            os.close(self._map)
            self._map = -1

    def _path(self, number: int) -> Path:
        return self.place / "files" / self.catalogue.files[number].path

    def _file(self, number: int) -> int:
        if number not in self._open_files:
            if len(self._open_files) >= _OPEN_FILES:
                oldest = next(iter(self._open_files))
                os.fdatasync(self._open_files[oldest])
                os.close(self._open_files.pop(oldest))
            self._open_files[number] = os.open(self._path(number), os.O_RDWR | _NO_LINK)
        return self._open_files[number]


def conflicts(directory: Path, catalogue: Catalogue) -> list[str]:
    """The names in a directory that other files have than those of a session."""
    return [str(directory / file.path) for file in catalogue.files if _there(directory, file) is False]


def is_here(directory: Path, catalogue: Catalogue) -> bool:
    """Whether all of a session's files are in a directory already."""
    return all(_there(directory, file) for file in catalogue.files)


def _there(directory: Path, expected: SentFile) -> bool | None:
    """True where the very file is there, None where nothing is."""
    path = directory / expected.path
    for parent in list(path.relative_to(directory).parents)[:-1]:
        if (directory / parent).is_symlink():
            return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK)
    except FileNotFoundError:
        return None
    except OSError:
        return False
    try:
        return os.fstat(descriptor).st_size == expected.size and hash_of(descriptor) == expected.sha256
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    """A small file, whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK, 0o644)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def write_list(directory: Path, name: str, data: bytes) -> Path:
    """Write a list for people beside what was received."""
    path = directory / name
    with io_errors(path):
        _write(path, data)
    return path


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
