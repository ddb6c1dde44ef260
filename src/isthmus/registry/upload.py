"""Writing blobs: one PUT of known length, or PATCH by PATCH where it shall be resumable; mounts; cancelling.

Distribution-spec, "Pushing blobs". What is sent is verified before its last byte leaves, so that nothing wrong
can be published. Not here: reading (`blobs`).
"""

import contextlib
import re
import threading
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self
from urllib.parse import quote

from isthmus.errors import IsthmusError, UnreachableError, VerificationError
from isthmus.oci import Descriptor, Digest, Verifier
from isthmus.registry import blobs, failures
from isthmus.registry.challenge import repository_scope
from isthmus.registry.endpoint import Origin
from isthmus.registry.exchange import Exchange, Response
from isthmus.registry.session import Request, Session

_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,19})", re.ASCII)
_OCTETS = "application/octet-stream"
_RESUME_CHUNK = 64 * 1024 * 1024  # bytes of a PATCH where the options name none but the upload is resumed
_STORING_RATE = 10_000_000  # bytes a second at which a slow registry moves a whole upload to its place
_SESSION_LOST = frozenset({404, 416})
_REFUSES_MOUNT = frozenset({400, 401, 403, 404, 405})


@dataclass(frozen=True)
class UploadState:
    """An upload session at the registry: where it goes on, and what it has taken for sure."""

    origin: Origin
    target: str
    verifier: Verifier
    smallest_chunk: int = 0

    @property
    def offset(self) -> int:
        """Bytes that the registry has."""
        return self.verifier.count


class Uploads:
    """Begins uploads and keeps those that were interrupted; safe for threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._open: dict[tuple[str, Digest], UploadState] = {}

    def mount(self, repository: str, blob: Descriptor, other_repository: str) -> bool:
        """Make the blob of another repository of this registry appear; False where that costs bytes."""
        other = self._session.place.full_name(other_repository)
        query = f"?mount={quote(blob.digest, safe=':')}&from={quote(other, safe='/')}"
        request = self._begin(repository, blob, query)
        request = replace(
            request, accept=frozenset({201, 202}), scopes=(*request.scopes, repository_scope(other, "pull"))
        )
        try:
            with self._session.call(request) as response:
                if response.status == 201:
                    return True
                state = self._state(response, request, blob)
        except UnreachableError as error:
            if error.http_status in _REFUSES_MOUNT:
                return False  # whether writing is allowed at all shows when it is tried
            raise
        self.keep(repository, blob, state)  # the next write will use it
        return False

    def write(self, repository: str, blob: Descriptor) -> "Upload":
        """A writer; it begins at its `offset` where an interrupted upload goes on."""
        with self._lock:
            state = self._open.pop((repository, blob.digest), None)
        if state is not None and state.offset:
            state = self._resumed(repository, blob, state)
        if state is None:
            request = self._begin(repository, blob, "")
            with self._session.call(request) as response:
                state = self._state(response, request, blob)
        return Upload(self._session, self, repository, blob, state)

    def keep(self, repository: str, blob: Descriptor, state: UploadState) -> None:
        """Remember a session for the next `write` of the blob."""
        with self._lock:
            former = self._open.pop((repository, blob.digest), None)
            self._open[repository, blob.digest] = state
        if former is not None:
            self.cancel(repository, blob, former)

    def cancel(self, repository: str, blob: Descriptor, state: UploadState) -> None:
        """Tell the registry to forget a session; where that fails it does so by itself one day."""
        request = replace(self.request("DELETE", repository, blob, state), accept=frozenset({200, 202, 204, 404}))
        with contextlib.suppress(IsthmusError):
            self._session.call(request, once=True).close()

    def close(self) -> None:
        """Cancel what was begun and not gone on with."""
        with self._lock:
            left, self._open = self._open, {}
        for (repository, digest), state in left.items():
            self.cancel(repository, Descriptor(_OCTETS, digest, state.verifier.size or 0), state)

    def request(self, method: str, repository: str, blob: Descriptor, state: UploadState) -> Request:
        """A request about an upload session."""
        begin = self._begin(repository, blob, "")
        return replace(begin, method=method, origin=state.origin, target=state.target)

    def _begin(self, repository: str, blob: Descriptor, query: str) -> Request:
        name = self._session.place.full_name(repository)
        return Request(
            method="POST",
            target=f"/v2/{name}/blobs/uploads/{query}",
            where=f"{self._session.place.name}/{name}@{blob.digest}",
            repository=name,
            scopes=(repository_scope(name, "pull", "push"),),
            accept=frozenset({202}),
            # Beginning twice leaves one session unused, which harms nothing: it may be repeated.
        )

    def _state(self, response: Response, request: Request, blob: Descriptor) -> UploadState:
        location = response.header("Location")
        if not location:
            raise failures.protocol("the registry names no place to upload to", request.where)
        origin, target = self._session.follow(response, request.target, location, request.where)
        smallest = response.header("OCI-Chunk-Min-Length")
        verifier = Verifier(blob.digest, blob.size, request.where)
        return UploadState(origin, target, verifier, int(smallest[:12]) if smallest.isdecimal() else 0)

    def _resumed(self, repository: str, blob: Descriptor, state: UploadState) -> UploadState | None:
        """The session if the registry still has exactly what we know that it took; otherwise it is cancelled."""
        request = replace(self.request("GET", repository, blob, state), accept=frozenset({200, 202, 204}))
        try:
            with self._session.call(request) as response:
                if _taken(response) == state.offset:
                    return self.moved(response, request, state)
        except UnreachableError as error:
            if error.temporary:
                self.keep(repository, blob, state)
                raise
            return None
        self.cancel(repository, blob, state)
        return None

    def moved(self, response: Response, request: Request, state: UploadState) -> UploadState:
        """The state with the Location that the registry says to go on with, which may hold its memory."""
        location = response.header("Location")
        if not location:
            return state
        origin, target = self._session.follow(response, request.target, location, request.where)
        return replace(state, origin=origin, target=target)


class Upload:
    """A `BlobWriter` into a registry."""

    def __init__(
        self, session: Session, uploads: Uploads, repository: str, blob: Descriptor, state: UploadState
    ) -> None:
        self.offset = state.offset
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
        if self._state.offset and not wanted:
            wanted = _RESUME_CHUNK
        return max(wanted, self._state.smallest_chunk) if wanted else 0

    def _open(self, *, last: bool = False) -> None:
        """Begin the next request: a PATCH of one chunk, or the PUT that ends the upload."""
        state, size = self._state, self._blob.size
        if self._chunk and not last:
            self._room = min(self._chunk, size - state.offset)
            headers = {"Content-Range": f"{state.offset}-{state.offset + self._room - 1}"}
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
        headers |= {"Content-Type": _OCTETS, "Content-Length": str(self._room)}
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
            if error.http_status not in _SESSION_LOST:
                raise
            self._over = True
            raise UnreachableError(
                "refused",
                f"the registry lost the upload: {error.message}",
                where=request.where,
                temporary=True,
                http_status=error.http_status,
            ) from error

    def _close_chunk(self) -> None:
        request = self._request
        assert request is not None
        with self._answer() as response:
            self._state = self._uploads.moved(
                response, request, replace(self._state, verifier=self._verifier.copy())
            )
            taken = _taken(response)
        if taken is not None and taken != self._state.offset:
            raise failures.protocol(
                f"the registry took {taken} bytes of {self._state.offset}", request.where, temporary=True
            )

    def _publish(self) -> None:
        with self._answer() as response:
            told = response.header("Docker-Content-Digest").strip()
        self._over = True
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
        if self._state.offset:
            self._uploads.keep(self._repository, self._blob, self._state)
        elif not self._broken:
            self._uploads.cancel(self._repository, self._blob, self._state)


def _taken(response: Response) -> int | None:
    """Bytes that the registry says it has (`Range: 0-END`); None where it does not say."""
    match = _RANGE.fullmatch(response.header("Range").strip())
    return int(match[1]) + 1 if match else None
