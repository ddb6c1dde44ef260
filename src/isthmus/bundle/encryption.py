"""age encryption around volumes or a whole stream: nothing of a volume shows, its manifest and names neither.

Streams through pyrage, the extra `age`, in a thread beside the reader or writer; memory is for a pipe and a chunk.
Not here: what is in volumes.
"""

import importlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final

from isthmus.bundle.medium import failed, not_plain, read_failed
from isthmus.errors import IsthmusError, UsageError, VerificationError

SUFFIX: Final = ".age"
_MAX_IDENTITY: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_HEADER: Final = 4096
_STANZA: Final = 2048
_GREASE: Final = (13, 190)
"""Bytes of the stanza that says nothing: a name, up to four words, up to 99 bytes in base64."""
_DAMAGED: Final = (
    "Header is invalid",
    "Header MAC",
    "Incomplete header",
    "Unknown age format",
    "fill whole buffer",
)
"""What pyrage says of a header that is not what it was; of another identity it says that no key matches."""


def plain_size(limit: int, recipients: int) -> int:
    """How many bytes may be encrypted to have at most `limit`: 16 are added for each 64 KiB, and a header."""
    room = limit - _HEADER - _STANZA * recipients
    return max(1, room - 16 * (room // _CHUNK + 1))


def sealed_size(size: int, recipients: Sequence[Any]) -> tuple[int, int]:
    """The least and the most bytes of a file that so many bytes are encrypted to.

    Headers begin with a stanza of random length that readers skip, so that it is not the
    same each time; all else is.
    """
    empty = io.BytesIO()
    _pyrage().encrypt_io(io.BytesIO(), empty, list(recipients))
    header, _, _ = empty.getvalue().partition(b"\n--- ")
    greased = sum(len(b"\n-> " + stanza) for stanza in header.split(b"\n-> ")[1:] if b"-grease" in stanza[:64])
    fixed = len(empty.getvalue()) - greased + size + 16 * (max(1, -(-size // _CHUNK)) - 1)
    return (fixed + _GREASE[0], fixed + _GREASE[1]) if greased else (fixed, fixed)


def recipient(text: str) -> Any:
    """An age recipient, `age1…` or an SSH public key. Raises UsageError `invalid-key`, `wrong-usage`."""
    pyrage = _pyrage()
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text.strip())
    except Exception as error:  # pyrage has several, and none in common
        raise UsageError("invalid-key", f"not an age recipient: {text[:100]!r}") from error


def identities(path: str | os.PathLike[str]) -> list[Any]:
    """The age identities in a file, or an SSH key. Raises UsageError `file-not-found`, `invalid-key`."""
    pyrage = _pyrage()
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_IDENTITY)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such identity", where=os.fspath(path)) from error
    except OSError as error:
        raise failed(error, path) from error
    try:
        if b"PRIVATE KEY" in data:
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except Exception:  # noqa: BLE001  # the cause may quote the secret
        found = []
    if not found:
        raise UsageError("invalid-key", "it holds no age identity", where=os.fspath(path)) from None
    return found


def new_identity() -> tuple[str, str]:
    """A new age identity and its recipient, as text."""
    identity = _pyrage().x25519.Identity.generate()
    return str(identity), str(identity.to_public())


@contextmanager
def encrypted(target: BinaryIO, recipients: Sequence[Any]) -> Iterator[BinaryIO]:
    """A stream whose bytes reach `target` encrypted; whole when the context ends. Raises `io-failed`."""
    pyrage = _pyrage()
    beside = _Beside(lambda pipe: pyrage.encrypt_io(pipe, target, recipients), reads=True)
    try:
        yield beside.pipe
        beside.end()
    finally:
        beside.stop()
    if beside.error is not None:
        raise _io_failed(beside.error)


class DecryptedSource(io.RawIOBase):
    """Encrypted files one after the other, read as one stream.

    `read` raises VerificationError `not-decrypted` where no key opens a file, `damaged-volume` where its bytes are
    not what was encrypted; both say which file, as `where`.
    """

    def __init__(self, sources: Sequence[Path | BinaryIO], keys: Sequence[Any]) -> None:
        super().__init__()
        self._left = list(sources)
        self._keys = keys
        self._beside: _Beside | None = None
        self._name = "-"
        self._failed: IsthmusError | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Some of the next bytes."""
        while True:
            if self._failed is not None:
                raise self._failed  # what comes behind is not what the reader expects next
            if self._beside is None:
                if not self._left:
                    return b""
                self._next()
            assert self._beside is not None
            if data := self._beside.pipe.read(size):
                return data
            beside, self._beside = self._beside, None
            beside.stop()
            if beside.error is not None:
                self._failed = self._failure(beside.error)

    def close(self) -> None:
        """Stop; what is not read yet is not decrypted."""
        if self._beside is not None:
            self._beside.stop()
            self._beside = None
        super().close()

    def _next(self) -> None:
        source = self._left.pop(0)
        self._name = str(source) if isinstance(source, Path) else "-"
        pyrage, keys = _pyrage(), self._keys

        def work(pipe: BinaryIO) -> None:
            if not isinstance(source, Path):
                pyrage.decrypt_io(source, pipe, keys)
                return
            if not source.is_file():
                raise not_plain(source)
            with open(source, "rb") as file:
                pyrage.decrypt_io(file, pipe, keys)

        self._beside = _Beside(work, reads=False)

    def _failure(self, error: BaseException) -> IsthmusError:
        if isinstance(error, IsthmusError):
            return error
        if isinstance(error, OSError) and error.errno:
            return read_failed(error, self._name)
        if isinstance(error, OSError) or any(sign in str(error) for sign in _DAMAGED):
            return VerificationError(
                "damaged-volume",
                "its bytes are not those that were encrypted",
                where=self._name,
                hint="copy it again from where it was packed; where there is parity, it can be left out",
            )
        return VerificationError(
            "not-decrypted",
            "it is encrypted to another identity than was given, or its beginning is damaged",
            where=self._name,
            hint="give --identity the key whose public half `pack --encrypt-to` had",
        )


class _Beside:
    """A thread at the other end of a pipe; `pipe` is our end, `error` what ended the thread, if not the end."""

    def __init__(self, work: Callable[[BinaryIO], None], *, reads: bool) -> None:
        reading, writing = os.pipe()
        self._ours, self._theirs = (writing, reading) if reads else (reading, writing)
        self.pipe: BinaryIO = os.fdopen(self._ours, "wb" if reads else "rb", buffering=_CHUNK if reads else 0)
        self.error: BaseException | None = None
        self._other: BinaryIO = os.fdopen(self._theirs, "rb" if reads else "wb", buffering=_CHUNK)
        self._thread = threading.Thread(target=self._run, args=(work,), name="isthmus-age", daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[BinaryIO], None]) -> None:
        try:
            work(self._other)
            self._other.flush() if self._other.writable() else None
        except BaseException as error:  # noqa: BLE001  # handed to the other thread
            self.error = error
        finally:
            try:
                self._other.close()
            except OSError as error:
                self.error = self.error or error

    def end(self) -> None:
        """Say that nothing more comes, and wait."""
        self.pipe.close()
        self._thread.join()

    def stop(self) -> None:
        """Close our end, whatever it was doing, and wait."""
        try:
            self.pipe.close()
        except OSError as error:
            self.error = self.error or error
        self._thread.join()


def _io_failed(error: BaseException) -> BaseException:
    return failed(error, "-") if isinstance(error, OSError) else failed(OSError(0, "encryption failed"), "-")


def _pyrage() -> ModuleType:
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise UsageError(
            "wrong-usage", "encryption needs pyrage, which is not installed", hint="install isthmus[age]"
        ) from error
