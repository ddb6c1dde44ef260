"""Upload sessions at a registry: begun, kept, gone on with (also by a later process), cancelled; and mounts.

Distribution-spec, "Pushing blobs" and "Resumable upload". Distribution 2.8 gives a session up where it was
broken off within a PATCH; 3 and others say how far they came. Not here: sending the bytes (`upload`).
"""

import contextlib
import re
import threading
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import quote

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.oci import Descriptor, Digest, Verifier
from isthmus.registry import failures
from isthmus.registry.challenge import repository_scope
from isthmus.registry.endpoint import Origin, follow
from isthmus.registry.exchange import Response
from isthmus.registry.session import Request, Session

LARGE = 64 * 1024 * 1024
"""Bytes above which an upload is noted in the log, and sent in chunks of this size, so that it can go on later."""

OCTETS = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,19})", re.ASCII)
_REFUSES_MOUNT = frozenset({400, 401, 403, 404, 405})
_NOT_ABOUT_THE_SESSION = frozenset({None, 401, 403, 429})


class UploadLog(Protocol):
    """Where the sessions of large uploads are kept beyond the process. What it gives is not believed."""

    def find_upload(self, repository: str, digest: Digest) -> str:
        """The URL of an unfinished upload, or nothing."""
        ...

    def keep_upload(self, repository: str, digest: Digest, location: str) -> None:
        """Remember where an upload goes on. The URL may let whoever knows it write: keep it to oneself."""
        ...

    def forget_upload(self, repository: str, digest: Digest) -> None:
        """It is finished or lost."""
        ...


@dataclass(frozen=True)
class UploadState:
    """An upload session at the registry: where it goes on, and what is known of it.

    The registry has the first `there` bytes; the verifier may have seen fewer. `logged` ones outlive the
    process; of a `recalled` one, nobody here saw the registry take all that it has.
    """

    origin: Origin
    target: str
    verifier: Verifier
    smallest_chunk: int = 0
    there: int = 0
    logged: bool = False
    recalled: bool = False

    @property
    def offset(self) -> int:
        """Bytes that need not be seen again to verify the blob."""
        return self.verifier.count


class Uploads:
    """Begins uploads and keeps those that were interrupted; safe for threads."""

    def __init__(self, session: Session) -> None:
        self.log: UploadLog | None = None
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

    def open(self, repository: str, blob: Descriptor) -> UploadState:
        """A session for the blob: one that was interrupted where there is one, else a new one."""
        with self._lock:
            state = self._open.pop((repository, blob.digest), None)
        if state is not None and (state.there or state.logged):
            state = self._resumed(repository, blob, state)
        elif (former := self._recalled(repository, blob)) is not None:
            if state is not None:
                self.cancel(repository, blob, state)
            state = former
        if state is None:
            request = self._begin(repository, blob, "")
            with self._session.call(request) as response:
                state = self._state(response, request, blob)
        if self.log is not None and blob.size > LARGE:
            state = replace(state, logged=True)
            self._note(repository, blob, state)
        return state

    def _recalled(self, repository: str, blob: Descriptor) -> UploadState | None:
        """The session of a former process, if the registry still has it."""
        location = self.log.find_upload(repository, blob.digest) if self.log and blob.size > LARGE else ""
        mine = self._session.origin()
        found = follow(mine, "/", location) if location else None
        if found is None or (mine.scheme == "https" and found[0].scheme == "http"):
            return None
        where = self._begin(repository, blob, "").where
        verifier = Verifier(blob.digest, blob.size, where)
        return self._resumed(repository, blob, UploadState(*found, verifier, logged=True, recalled=True))

    def _note(self, repository: str, blob: Descriptor, state: UploadState) -> None:
        if self.log is not None and state.logged:
            location = f"{state.origin.scheme}://{state.origin.authority}{state.target}"
            self.log.keep_upload(repository, blob.digest, location)

    def forget(self, repository: str, blob: Descriptor, state: UploadState) -> None:
        """The session is published or lost: nobody shall look for it."""
        if self.log is not None and state.logged:
            self.log.forget_upload(repository, blob.digest)

    def keep(self, repository: str, blob: Descriptor, state: UploadState) -> None:
        """Remember a session for the next `write` of the blob."""
        with self._lock:
            former = self._open.pop((repository, blob.digest), None)
            self._open[repository, blob.digest] = state
        if former is not None:
            self.cancel(repository, blob, former)

    def cancel(self, repository: str, blob: Descriptor, state: UploadState) -> None:
        """Tell the registry to forget a session; where that fails it does so by itself one day."""
        self.forget(repository, blob, state)
        request = replace(self.request("DELETE", repository, blob, state), accept=frozenset({200, 202, 204, 404}))
        with contextlib.suppress(IsthmusError):
            self._session.call(request, once=True).close()

    def close(self) -> None:
        """Cancel what was begun and not gone on with, and that no later process will find."""
        with self._lock:
            left, self._open = self._open, {}
        for (repository, digest), state in left.items():
            if not state.logged:
                self.cancel(repository, Descriptor(OCTETS, digest, state.verifier.size or 0), state)

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
        """The session with what the registry says that it has; None where it is lost."""
        request = replace(self.request("GET", repository, blob, state), accept=frozenset({200, 202, 204}))
        try:
            with self._session.call(request, once=state.recalled) as response:
                there = taken_bytes(response)
                if there is not None and there <= blob.size:
                    # Of nothing, too, it can only be said that it goes from byte 0 to byte 0.
                    there = 0 if there == 1 else there
                    state = replace(state, recalled=state.recalled or there != state.there)
                    return self.moved(response, request, state, there)
        except UnreachableError as error:
            if error.http_status in _NOT_ABOUT_THE_SESSION or (error.temporary and not state.recalled):
                self.keep(repository, blob, state)
                raise
            self.forget(repository, blob, state)
            return None
        self.cancel(repository, blob, state)
        return None

    def moved(self, response: Response, request: Request, state: UploadState, there: int) -> UploadState:
        """The state with the Location that the registry says to go on with, which may hold its memory."""
        verifier = state.verifier
        if there < verifier.count:
            verifier = Verifier(verifier.digest, verifier.size, request.where)
        location = response.header("Location")
        if not location:
            return replace(state, there=there, verifier=verifier)
        origin, target = self._session.follow(response, request.target, location, request.where)
        return replace(state, origin=origin, target=target, there=there, verifier=verifier)

    def advanced(
        self, response: Response, request: Request, repository: str, blob: Descriptor, state: UploadState
    ) -> UploadState:
        """The state after a chunk that the registry took."""
        state = self.moved(response, request, state, state.verifier.count)
        self._note(repository, blob, state)
        return state


def taken_bytes(response: Response) -> int | None:
    """Bytes that the registry says it has (`Range: 0-END`); None where it does not say."""
    match = _RANGE.fullmatch(response.header("Range").strip())
    return int(match[1]) + 1 if match else None
