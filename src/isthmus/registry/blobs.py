"""Reading blobs (distribution-spec, "Pulling blobs", and RFC 9110 ranges). Not here: writing them (`upload`)."""

import re
from types import TracebackType
from typing import Self

from isthmus.errors import UnreachableError, VerificationError
from isthmus.oci import Descriptor
from isthmus.oci.content import CHUNK
from isthmus.registry import failures
from isthmus.registry.challenge import repository_scope
from isthmus.registry.exchange import Response
from isthmus.registry.session import Request, Session

_CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE)


def has_blob(session: Session, repository: str, blob: Descriptor) -> bool:
    """Whether the registry has the blob, with the size that it must have."""
    with session.call(_request(session, "HEAD", repository, blob, accept=frozenset({200, 404}))) as response:
        if response.status == 404:
            return False
        said = response.header("Content-Length")
        return not said.isdecimal() or int(said[:20]) == blob.size


def open_blob(session: Session, repository: str, blob: Descriptor, offset: int = 0) -> "BlobBody":
    """The blob's bytes from `offset` on.

    A registry that ignores ranges is read from the beginning and the bytes before `offset` are skipped.
    Raises UnreachableError, and VerificationError (`size-mismatch`) where the registry says another size.
    """
    where = _where(session, repository, blob)
    if not 0 <= offset <= blob.size:
        raise VerificationError("size-mismatch", f"there is no byte {offset} in {blob.size} bytes", where=where)
    if offset == blob.size and offset:
        return BlobBody(None, 0, where)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    accept = frozenset({200, 206}) if offset else frozenset({200})
    response = session.call(_request(session, "GET", repository, blob, accept=accept, headers=headers))
    try:
        start = _start(response, blob, offset, where)
        body = BlobBody(response, blob.size - start, where)
        body.skip(offset - start)
    except BaseException:
        response.close()
        raise
    return body


def open_range(session: Session, repository: str, blob: Descriptor, offset: int, length: int) -> "BlobBody":
    """`length` bytes of the blob from `offset` on, and nothing else of it.

    Raises UnreachableError (`protocol`) where the registry does not give exactly this range.
    """
    where = _where(session, repository, blob)
    if offset < 0 or length < 1 or offset + length > blob.size:
        raise VerificationError("size-mismatch", f"{blob.size} bytes have no {length} from {offset}", where=where)
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
    accept = frozenset({200, 206})
    response = session.call(_request(session, "GET", repository, blob, accept=accept, headers=headers))
    match = _CONTENT_RANGE.fullmatch(response.header("Content-Range").strip())
    if response.status != 206 or match is None or (int(match[1]), int(match[2])) != (offset, offset + length - 1):
        response.close()
        raise failures.protocol("the registry does not give the range that it was asked for", where)
    return BlobBody(response, length, where)


class BlobBody:
    """A blob's bytes as they come from the socket; `size` is the number still to come."""

    size: int | None

    def __init__(self, response: Response | None, size: int, where: str) -> None:
        self._response = response
        self._left = self.size = size
        self._where = where

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 at the end. Raises UnreachableError (temporary) where the body breaks off."""
        if self._response is None or not len(buffer):
            return 0
        try:
            count = self._response.readinto(buffer)
        except UnreachableError as error:
            raise error.at(self._where) from error.__cause__
        if count > self._left:
            raise VerificationError(
                "size-mismatch", "the registry sends more than the blob's size", where=self._where
            )
        if count == 0 and self._left:
            raise failures.protocol(
                f"the blob broke off with {self._left} bytes still to come", self._where, temporary=True
            )
        self._left -= count
        self.size = self._left
        return count

    def skip(self, count: int) -> None:
        """Read and forget bytes."""
        scratch = memoryview(bytearray(min(count, CHUNK)))
        while count:
            count -= self.readinto(scratch[:count])

    def close(self) -> None:
        """Give the connection back."""
        if self._response is not None:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def delete_blob(session: Session, repository: str, blob: Descriptor) -> None:
    """Remove a blob from a repository; raises UnreachableError (`not-found`, or `refused` where not allowed)."""
    request = _request(session, "DELETE", repository, blob, accept=frozenset({200, 202, 204}), action="delete")
    session.call(request).close()


def _start(response: Response, blob: Descriptor, offset: int, where: str) -> int:
    """The position of the first byte that the registry sends."""
    start = 0
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.header("Content-Range").strip())
        if match is None or int(match[1]) != offset or int(match[2]) < offset:
            raise failures.protocol(f"the registry sends another range than the one from byte {offset}", where)
        if match[3] != "*" and int(match[3]) != blob.size:
            raise _other_size(int(match[3]), blob, where)
        start = offset
    if response.length is not None and start + response.length != blob.size:
        raise _other_size(start + response.length, blob, where)
    return start


def _other_size(said: int, blob: Descriptor, where: str) -> VerificationError:
    return VerificationError(
        "size-mismatch", f"the registry says {said} bytes instead of {blob.size}", where=where
    )


def _request(
    session: Session, method: str, repository: str, blob: Descriptor, *, accept: frozenset[int],
    headers: dict[str, str] | None = None, action: str = "pull",
) -> Request:  # fmt: skip
    name = session.place.full_name(repository)
    return Request(
        method=method,
        target=f"/v2/{name}/blobs/{blob.digest}",
        where=_where(session, repository, blob),
        repository=name,
        scopes=(repository_scope(name, action),),
        accept=accept,
        headers=headers or {},
        may_leave_tls=True,
    )


def _where(session: Session, repository: str, blob: Descriptor) -> str:
    return f"{session.place.name}/{session.place.full_name(repository)}@{blob.digest}"
