"""Blobs in S3-compatible object storage (`Elsewhere`), through obstore: an extra, `isthmus[s3]`.

An object is called `PREFIX/ALGORITHM/HEX`. It is only ever written whole, after its digest was verified, so that
an object that is there is right. Names, manifests and whatever may be one stay in the store's directory. Keys come
from the environment or the machine, as for other S3 clients. Not here: when something goes there (`blobs`).
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from isthmus.errors import IncompleteError, UnreachableError, UsageError
from isthmus.oci import Digest
from isthmus.store.elsewhere import FilePart

LINK_SECONDS = 900
"""How long an address that clients are sent to holds."""

PART = 8 * 1024 * 1024
"""Bytes of a part of an upload; four are under way at once."""

_REMEMBERED = 200_000  # sizes
_READ = 1024 * 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9_.-]+/)*[A-Za-z0-9_.-]+|", re.ASCII)
_OPTIONS = ("endpoint", "region")


@dataclass(frozen=True)
class StorageAddress:
    """`s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. Holds no secret."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""


def parse_storage(text: str) -> StorageAddress:
    """Parse an address. Raises UsageError `invalid-config`."""
    try:
        parts = urlsplit(text)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query), max_num_fields=10)
    except ValueError as error:
        raise _wrong(text) from error
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or "@" in parts.netloc or not _BUCKET.fullmatch(parts.netloc):
        raise _wrong(text)
    if not _PREFIX.fullmatch(prefix) or ".." in prefix.split("/") or any(key not in _OPTIONS for key in options):
        raise _wrong(text)
    endpoint = options.get("endpoint", [""])[0].rstrip("/")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise _wrong(text)
    return StorageAddress(parts.netloc, prefix, endpoint, options.get("region", [""])[0])


def _wrong(text: str) -> UsageError:
    shown = re.sub(r"://[^/@]*@", "://***@", text[:200])
    return UsageError(
        "invalid-config",
        f"not the address of an object storage: {shown!r}",
        hint="s3://BUCKET/PREFIX?endpoint=https://HOST:PORT; keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )


def open_storage(address: StorageAddress, *, redirect: bool = False) -> "ObjectStorage":
    """A connection. Raises UsageError `wrong-usage` without obstore, UnreachableError where it does not answer."""
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise UsageError(
            "wrong-usage", "object storage needs obstore, which is not installed", hint="pip install 'isthmus[s3]'"
        ) from error
    settings: dict[str, Any] = {"region": address.region or "us-east-1"}
    if address.endpoint:
        settings |= {"endpoint": address.endpoint, "virtual_hosted_style_request": False}
    with _errors(address):
        store = S3Store(
            address.bucket,
            prefix=address.prefix or None,
            client_options={"allow_http": address.endpoint.startswith("http://"), "timeout": "5 minutes"},
            **settings,
        )
    storage = ObjectStorage(store, address, redirect=redirect)
    storage.ping()
    return storage


class ObjectStorage:
    """Made by `open_storage`. Safe for threads. Raises UnreachableError `io-failed`."""

    takes = True

    def __init__(self, store: Any, address: StorageAddress, *, redirect: bool) -> None:
        self._store = store
        self._address = address
        self._redirect = redirect
        self._sizes: OrderedDict[Digest, int] = OrderedDict()
        self._lock = threading.Lock()

    def ping(self) -> None:
        """See that the bucket answers and may be read."""
        import obstore

        with _errors(self._address):
            next(iter(obstore.list(self._store, chunk_size=1)), None)

    def size(self, digest: Digest, /) -> int | None:
        """The object's size in bytes, remembered; None where there is none."""
        with self._lock:
            known = self._sizes.get(digest)
        if known is not None:
            return known
        found = self._head(digest)
        if found is None:
            return None
        self._remember(digest, found["size"])
        return int(found["size"])

    def _remember(self, digest: Digest, size: int) -> None:
        with self._lock:
            self._sizes[digest] = size
            while len(self._sizes) > _REMEMBERED:
                self._sizes.popitem(last=False)

    def _head(self, digest: Digest) -> Any:
        import obstore

        with _errors(self._address):
            try:
                return obstore.head(self._store, _key(digest))
            except FileNotFoundError:
                return None

    def open(self, digest: Digest, offset: int, /) -> "_Reader":
        """The object's bytes from `offset` on. Raises IncompleteError `not-found`."""
        import obstore

        size = self.size(digest)
        if size is None:
            raise self._gone(digest)
        if offset >= size:
            return _Reader(iter(()), 0, self._address)
        with _errors(self._address):
            try:
                found = obstore.get(self._store, _key(digest), options={"range": {"offset": offset}})
            except FileNotFoundError:
                raise self._gone(digest) from None
            return _Reader(iter(found.stream(min_chunk_size=_READ)), size - offset, self._address)

    def _gone(self, digest: Digest) -> IncompleteError:
        with self._lock:
            self._sizes.pop(digest, None)
        return IncompleteError(
            "not-found", f"the object storage does not hold {digest}", where=_shown(self._address)
        )

    def parts(self, _digest: Digest, /) -> tuple[FilePart, ...] | None:
        """In no files."""
        return None

    def link(self, digest: Digest, /) -> str:
        """A presigned address, where clients are to be sent there."""
        import obstore

        if not self._redirect:
            return ""
        with _errors(self._address):
            return str(obstore.sign(self._store, "GET", _key(digest), expires_in=timedelta(seconds=LINK_SECONDS)))

    def put(self, digest: Digest, path: Path, size: int, /) -> None:
        """Upload a verified file, in parts where it is large; it counts once it is whole."""
        import obstore

        with _errors(self._address):
            obstore.put(self._store, _key(digest), path, chunk_size=PART, max_concurrency=4)
        found = self._head(digest)
        if found is None or found["size"] != size:
            raise UnreachableError(
                "io-failed", f"the object storage did not keep {digest} whole", where=_shown(self._address)
            )
        self._remember(digest, size)

    def changed(self, digest: Digest, /) -> float | None:
        """When the object was written."""
        found = self._head(digest)
        return found["last_modified"].timestamp() if found is not None else None

    def remove(self, digest: Digest, /) -> None:
        """Delete the object; it may be gone already."""
        import obstore

        with self._lock:
            self._sizes.pop(digest, None)
        with _errors(self._address):
            try:
                obstore.delete(self._store, _key(digest))
            except FileNotFoundError:
                return

    def items(self) -> Iterator[tuple[Digest, int]]:
        """Every object that is a blob."""
        import obstore

        with _errors(self._address):
            for page in obstore.list(self._store):
                for found in page:
                    place, _, name = found["path"].rpartition("/")
                    try:
                        digest = Digest(f"{place.rpartition('/')[2]}:{name}")
                    except UsageError:
                        continue  # nobody of ours wrote that
                    yield digest, int(found["size"])


class _Reader:
    def __init__(self, chunks: Iterator[Any], size: int, address: StorageAddress) -> None:
        self.size: int | None = size
        self._chunks = chunks
        self._address = address
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there; 0 only at the end. Raises `io-failed`."""
        while not self._rest:
            with _errors(self._address):
                chunk = next(self._chunks, None)
            if chunk is None:
                if self.size:
                    raise UnreachableError("io-failed", "the object ended early", where=_shown(self._address))
                return 0
            self._rest = memoryview(chunk).cast("B")
        count = min(len(self._rest), len(buffer))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self.size = max(0, (self.size or 0) - count)
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._chunks = iter(())
        self._rest = memoryview(b"")


def _key(digest: Digest) -> str:
    return f"{digest.algorithm}/{digest.hex}"


def _shown(address: StorageAddress) -> str:
    return f"s3://{address.bucket}/{address.prefix}".rstrip("/")


@contextmanager
def _errors(address: StorageAddress) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, StopIteration, IncompleteError, UnreachableError, UsageError):
        raise
    except Exception as error:  # obstore has no one class for all of its own
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise UnreachableError("io-failed", f"the object storage: {reason}", where=_shown(address)) from error
