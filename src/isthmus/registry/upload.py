"""Writing blobs: one PUT of known length, or PATCH by PATCH where it shall be resumable.

Distribution-spec, "Pushing blobs". What is sent is verified before its last byte leaves, so that nothing wrong
can be published. Not here: reading (`blobs`), sessions (`upload_sessions`).
"""

import contextlib
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import quote

from isthmus.errors import IsthmusError, UnreachableError, VerificationError
from isthmus.oci import Descriptor
from isthmus.registry import blobs, failures
from isthmus.registry.exchange import Exchange, Response
from isthmus.registry.session import Request, Session
from isthmus.registry.upload_sessions import LARGE, OCTETS, Uploads, taken_bytes

_STORING_RATE = 10_000_000  # bytes a second at which a slow registry moves a whole upload to its place
_SESSION_LOST = frozenset({404, 416})
_NOT_ABOUT_CONTENT = frozenset({401, 403, 413, 429})


class Upload:
    """A `BlobWriter` into a registry; bytes that it has already (`there`) are verified and not sent again."""

    def __init__(self, session: Session, uploads: Uploads, repository: str, blob: Descriptor) -> None:
        state = uploads.open(repository, blob)
        self.offset = state.offset
        self.there = state.there
        self._session = session
        self._uploads = uploads
        self._repository = repository
        self._blob = blob
        self._state = state
        self._verifier = state.verifier.copy()
        self._chunk = self._chunk_size()
        self._request: Request | None = None
        self._exchange: Exchange | None = None
        self._room = 0
        self._broken = False
        self._over = False

    def write(self, chunk: memoryview, /) -> None:
        """Send the next bytes; raises VerificationError before the last of them where they are the wrong ones."""
        view = memoryview(chunk).cast("B")
        if self._verifier.count + len(view) > self._blob.size:
            self._verify(view)
        if view and self._verifier.count < self._state.there:
            known = view[: self._state.there - self._verifier.count]
            self._verify(known)
            view = view[len(known) :]
        while view:
            if self._exchange is None:
                self._open()
            part = view[: self._room]
            self._verify(part)
            self._send(part)
            self._room -= len(part)
            view = view[len(part) :]
            if self._room == 0 and self._chunk:
                self._close_chunk()

    def commit(self) -> None:
        """Verify, and publish. Raises VerificationError, having cancelled the upload; or UnreachableError."""
        self._verify(memoryview(b""), last=True)
        if self._exchange is None:
            self._open(last=True)
        try:
            self._publish()
        except UnreachableError as error:
            self._broken = error.temporary
            # Without any answer it is open whether the registry did it.
            if error.http_status is not None or not error.temporary or not self._is_published():
                raise
            self._over = True
            self._uploads.forget(self._repository, self._blob, self._state)

    def _verify(self, part: memoryview, *, last: bool = False) -> None:
        try:
            self._verifier.update(part)
            if last or self._verifier.count == self._blob.size:
                self._verifier.finish()
        except VerificationError:
            self._cancel()
            raise

    def _chunk_size(self) -> int:
        """Bytes of one PATCH; 0 for a single PUT."""
        wanted = self._session.options.upload_chunk
        if not wanted and (self._state.there or self._state.logged):
            wanted = LARGE
        return max(wanted, self._state.smallest_chunk) if wanted else 0

    def _open(self, *, last: bool = False) -> None:
        """Begin the next request: a PATCH of one chunk, or the PUT that ends the upload."""
        state, size = self._state, self._blob.size
        if self._chunk and not last:
            self._room = min(self._chunk, size - state.there)
            headers = {"Content-Range": f"{state.there}-{state.there + self._room - 1}"}
            request = replace(
                self._uploads.request("PATCH", self._repository, self._blob, state),
                accept=frozenset({200, 202, 204}),
            )
        else:
            self._room = 0 if self._chunk else size
            headers = {}
            mark = "&" if "?" in state.target else "?"
            target = f"{state.target}{mark}digest={quote(self._blob.digest, safe=':')}"
            request = replace(
                self._uploads.request("PUT", self._repository, self._blob, state), target=target,
                accept=frozenset({200, 201, 204}),
            )  # fmt: skip
        headers |= {"Content-Type": OCTETS, "Content-Length": str(self._room)}
        self._request = replace(request, headers=headers, repeatable=False)
        self._exchange = self._session.start(self._request)

    def _send(self, part: memoryview) -> None:
        exchange, request = self._exchange, self._request
        assert exchange is not None
        assert request is not None
        try:
            exchange.send(part)
        except UnreachableError as error:
            self._broken = True
            raise error.at(request.where) from error.__cause__
        if exchange.was_dropped:
            self._broken = True
            self._answer().close()
            raise failures.protocol("the registry answered before it had the blob", request.where, temporary=True)

    def _answer(self) -> Response:
        exchange, request = self._exchange, self._request
        assert exchange is not None
        assert request is not None
        self._exchange = None
        try:
            return self._session.finish(exchange, request, self._blob.size / _STORING_RATE)
        except UnreachableError as error:
            if not self._is_lost(error.http_status):
                raise
            self._over = True
            self._uploads.forget(self._repository, self._blob, self._state)
            raise UnreachableError(
                "refused",
                f"the registry lost the upload: {error.message}",
                where=request.where,
                temporary=True,
                http_status=error.http_status,
            ) from error

    def _is_lost(self, status: int | None) -> bool:
        """Whether a fresh upload may do what this one cannot: what a former process sent may be wrong."""
        if status in _SESSION_LOST:
            return True
        doubtful = self._state.recalled and status not in _NOT_ABOUT_CONTENT
        return doubtful and status is not None and 400 <= status < 500

    def _close_chunk(self) -> None:
        request = self._request
        assert request is not None
        with self._answer() as response:
            state = replace(self._state, verifier=self._verifier.copy())
            self._state = self._uploads.advanced(response, request, self._repository, self._blob, state)
            taken = taken_bytes(response)
        if taken is not None and taken != self._state.there:
            raise failures.protocol(
                f"the registry took {taken} bytes of {self._state.there}", request.where, temporary=True
            )

    def _publish(self) -> None:
        with self._answer() as response:
            told = response.header("Docker-Content-Digest").strip()
        self._over = True
        self._uploads.forget(self._repository, self._blob, self._state)
        wanted = self._blob.digest
        if told.partition(":")[0] == wanted.algorithm and told != wanted:
            raise VerificationError(
                "digest-mismatch", f"the registry stored {failures.clean(told)} instead of {wanted}",
                where=self._verifier.where,
            )  # fmt: skip

    def _is_published(self) -> bool:
        """Whether only the answer was lost."""
        with contextlib.suppress(IsthmusError):
            return blobs.has_blob(self._session, self._repository, self._blob)
        return False

    def _cancel(self) -> None:
        if self._exchange is not None:
            self._exchange.abort()
            self._exchange = None
        if not self._over:
            self._over = True
            self._uploads.cancel(self._repository, self._blob, self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._exchange is not None:
            self._exchange.abort()
            self._exchange = None
        if self._over:
            return
        self._over = True
        if self._state.there or self._state.logged:
            self._uploads.keep(self._repository, self._blob, self._state)
        elif not self._broken:
            self._uploads.cancel(self._repository, self._blob, self._state)
