"""Which encrypted volumes an interrupted run finished: they cannot be compared with what they should be.

A journal in the directory says what each finished file's SHA-256 is, of which volume it is, signed by whom, and to
whom it is encrypted; it goes when the bundle is whole. Not here: writing volumes (`packing`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from isthmus.bundle.beside import replace
from isthmus.bundle.medium import MediumFile, io_errors, open_regular
from isthmus.errors import IsthmusError
from isthmus.oci.content import new_buffer

NAME: Final = ".encrypted.partial"
_MAX: Final = 64 * 1024 * 1024


class KeptVolume(msgspec.Struct, frozen=True):
    """A finished file: its final name, bytes and SHA-256, and the SHA-256 of the plain volume's header."""

    file: str
    size: int
    sha256: str
    header: str


class Journal:
    """What is finished, in the order of the volumes."""

    def __init__(self, place: Path, recipients: Sequence[Any]) -> None:
        self._path = place / NAME
        self._to = hashlib.sha256(
            "\n".join(sorted(str(recipient) for recipient in recipients)).encode()
        ).hexdigest()
        self._before = self._read()
        self._now: list[KeptVolume] = []

    def take_over(self, header: bytes, final: Path, partial: Path) -> tuple[KeptVolume, Path] | None:
        """The next volume, and where it is, if an earlier run finished it and it is still what it was."""
        number = len(self._now)
        if number >= len(self._before):
            return None
        kept = self._before[number]
        if (kept.file, kept.header) == (final.name, _hex(header)):
            for path in (final, partial):
                try:
                    with open_regular(path) as file:
                        if file.size == kept.size and hash_file(file) == kept.sha256:
                            self._now.append(kept)
                            return kept, path
                except IsthmusError:
                    continue
        self._before = self._before[:number]
        return None

    def finished(self, header: bytes, file: str, size: int, sha256: str) -> None:
        """Write down that a volume is on the medium. Raises `io-failed`."""
        self._now.append(KeptVolume(file, size, sha256, _hex(header)))
        replace(self._path, msgspec.json.encode({"to": self._to, "volumes": self._now}), durable=True)

    def end(self) -> None:
        """The bundle is whole."""
        with io_errors(self._path):
            self._path.unlink(missing_ok=True)

    def _read(self) -> list[KeptVolume]:
        try:
            with open_regular(self._path) as file:
                document = msgspec.json.decode(file.at(0, min(file.size, _MAX)))
            if document["to"] != self._to:
                return []
            return msgspec.convert(document["volumes"], list[KeptVolume])
        except (IsthmusError, msgspec.MsgspecError, KeyError, TypeError, UnicodeError, RecursionError):
            return []


def hash_file(file: MediumFile) -> str:
    """The SHA-256 of a whole file, in hexadecimal."""
    digest, buffer = hashlib.sha256(), new_buffer()
    for position in range(0, file.size, len(buffer)):
        digest.update(buffer[: file.into(buffer, position)])
    return digest.hexdigest()


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
