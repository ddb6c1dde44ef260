"""Bytes by URL into a store: of a known digest, or trusted for the first time. Streamed, resumed, verified once.

Not here: connections (`web`), and what the publisher vouches with (`vouching`).
"""

import hashlib
import re
import time
from collections.abc import Callable

import msgspec

from isthmus.content.artifact import ANY_LAYER
from isthmus.content.web import Told, Web, told_by
from isthmus.errors import IncompleteError, IsthmusError, UnreachableError, VerificationError
from isthmus.oci import Descriptor, Digest
from isthmus.oci.content import BlobWriter, new_buffer
from isthmus.progress import Meter
from isthmus.registry.exchange import Response
from isthmus.registry.retry import delay_before
from isthmus.store import Store
from isthmus.store.uploads import Upload

MAX_UNKNOWN = 1 << 40
"""Bytes of a file whose size nobody told before."""

_PROGRESS = 1 << 20  # so much more is a new start for counting attempts
_CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE)


class Fetched(msgspec.Struct, frozen=True):
    """A file that is in the store now, and its date at the publisher's (RFC 3339), where told."""

    digest: Digest
    size: int
    modified: str = ""


def fetch_known(
    store: Store, web: Web, url: str, digest: Digest, size: int, meter: Meter, label: str = "",
    sleep: Callable[[float], None] = time.sleep,
) -> bool:  # fmt: skip
    """Bring a file of a known digest and size; False where it was there already.

    Every place that has it is tried. Raises VerificationError where all that answer give other bytes, or
    UnreachableError; what came is kept and resumed by the next run.
    """
    blob = Descriptor(ANY_LAYER, digest, size)
    if store.has_blob("", blob):
        return False
    failures: list[IsthmusError] = []
    for place in web.places(url):
        try:
            _bring(store, web, place, blob, meter, label or url, sleep)
        except (VerificationError, UnreachableError) as error:
            if error.code == "io-failed":
                raise
            failures.append(error.at(place.partition("?")[0]))
        else:
            return True
    wrong = [error for error in failures if isinstance(error, VerificationError)]
    worst = (wrong or failures)[0]
    if wrong and not worst.hint:
        worst.hint = (
            "the publisher changed the file, or somebody else did; `isthmus lock --trust-anew` takes it as it is"
        )
    raise worst


def fetch_unknown(
    store: Store, web: Web, url: str, sleep: Callable[[float], None] = time.sleep, limit: int = MAX_UNKNOWN
) -> Fetched:
    """Bring a file that is trusted as it comes. Raises UnreachableError, `store-busy`."""
    failure: UnreachableError | None = None
    for place in web.places(url):
        try:
            return _take(store, web, url, place, limit, sleep)
        except UnreachableError as error:
            if error.code == "io-failed":
                raise
            failure = failure or error
    raise failure or AssertionError(url)


def _bring(
    store: Store, web: Web, place: str, blob: Descriptor, meter: Meter, label: str, sleep: Callable[[float], None]
) -> None:
    attempts, restarted = 0, False
    while True:
        before = 0
        try:
            with store.write_blob("", blob) as writer:
                before = writer.offset
                meter.add(before, label)
                if before < blob.size or not blob.size:
                    _stream(web, place, blob, writer, meter, label)
                writer.commit()
            return
        except VerificationError:
            meter.add(-min(before, blob.size), label)
            # Bytes of a former run may have been of another version of the file.
            if not before or restarted:
                raise
            restarted = True
        except UnreachableError as error:
            meter.add(-before, label)
            if error.http_status == 416:
                raise VerificationError(
                    "size-mismatch", f"the file is shorter than the {blob.size} bytes that it must have"
                ) from error
            attempts = 1 if writer.offset - before >= _PROGRESS else attempts + 1
            delay = delay_before(attempts, error, web.options(place))
            if error.code == "io-failed" or delay is None:
                raise
            sleep(delay)


def _stream(web: Web, place: str, blob: Descriptor, writer: BlobWriter, meter: Meter, label: str) -> None:
    with web.open(place, offset=writer.offset, is_pinned=True) as response:
        skip = writer.offset - _start(response, writer.offset, blob.size)
        said = response.length
        if said is not None and said - skip != blob.size - writer.offset:
            raise VerificationError(
                "size-mismatch", f"the file has {said + writer.offset - skip} bytes instead of {blob.size}"
            )
        buffer = new_buffer()
        while count := response.readinto(buffer):
            part = buffer[min(skip, count) : count]
            skip -= count - len(part)
            if part:
                writer.write(part)
                meter.add(len(part), label)
        if writer.offset < blob.size and said is None:
            # Without a length nobody can tell a cut from the end; asked for the rest, the host will.
            raise UnreachableError("unreachable", "the answer may have broken off", temporary=True)


def _start(response: Response, offset: int, size: int | None) -> int:
    """Where the answer's bytes begin."""
    if response.status == 200 or not offset:
        return 0
    found = _CONTENT_RANGE.match(response.header("Content-Range"))
    if found is None or int(found[1]) != offset:
        raise UnreachableError("protocol", f"{response.origin.authority} answers with another range than asked")
    if size is not None and found[2] != "*" and int(found[2]) != size:
        raise VerificationError("size-mismatch", f"the file has {found[2]} bytes instead of {size}")
    return offset


def _take(store: Store, web: Web, url: str, place: str, limit: int, sleep: Callable[[float], None]) -> Fetched:
    attempts = 0
    while True:
        told = web.tell(place)
        name = _upload_name(url, told)
        with _upload(store, name, keep=bool(told.validator)) as upload:
            before = upload.size
            try:
                if told.size is None or before < told.size:
                    told = _append(web, place, told, upload, limit)
                digest, size = upload.digest(), upload.size
                store.protect(digest)
                upload.publish(digest)
                return Fetched(digest, size, told.modified)
            except _ChangedError:
                upload.remove()
                error = UnreachableError("unreachable", "the file changes while it is read", temporary=True)
            except UnreachableError as caught:
                error = caught
            attempts = 1 if upload.size - before >= _PROGRESS else attempts + 1
        delay = delay_before(attempts, error, web.options(place))
        if error.code == "io-failed" or delay is None:
            raise error.at(place.partition("?")[0])
        sleep(delay)


class _ChangedError(Exception):
    """What was begun is not what the host has now."""


def _append(web: Web, place: str, told: Told, upload: Upload, limit: int) -> Told:
    with web.open(place, offset=upload.size, validator=told.validator) as response:
        if upload.size and response.status == 200:
            raise _ChangedError
        if not upload.size:
            now = told_by(response)
            if now.validator != told.validator:
                raise _ChangedError
        _start(response, upload.size, told.size)
        buffer = new_buffer()
        while count := response.readinto(buffer):
            if upload.size + count > limit:
                raise UnreachableError("protocol", f"the file is longer than the {limit} bytes that are allowed")
            upload.write(buffer[:count])
    if told.size is not None and upload.size != told.size:
        raise _ChangedError
    return told


def _upload(store: Store, name: str, *, keep: bool) -> Upload:
    """What a former run began, where it can be told to be the same file, or a new one."""
    try:
        upload = store.upload(name)
    except IncompleteError:
        store.begin_upload(name)
        return store.upload(name)
    if keep:
        return upload
    upload.remove()
    store.begin_upload(name)
    return store.upload(name)


def _upload_name(url: str, told: Told) -> str:
    text = f"{url}\n{told.validator}\n{told.size}"
    return hashlib.sha256(url.encode()).hexdigest()[:32] + "-" + hashlib.sha256(text.encode()).hexdigest()[:32]
