"""Which bundles came into a store: `bundles.jsonl` in it, a line appended by each `unpack`.

For people, and for the console of `serve`. Nothing is decided by it: what a site accepts is in the trust file
beside the store (`policy`).
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from isthmus.bundle.medium import io_errors
from isthmus.store import files

FILE: Final = "bundles.jsonl"
_MAX_FILE: Final = 16 * 1024 * 1024
_MAX_LINE: Final = 64 * 1024


class ReceivedBundle(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bundle: its id, name, sequence number and dates, what it held, and the ids of the keys that signed it.

    `at` is when it was unpacked. `signed_by` is the given key that verified; `claimed_by` are those whose
    signatures were there, verified or not.
    """

    bundle: str
    name: str
    at: str
    blobs: int = 0
    bytes: int = 0
    references: int = 0
    volumes: int = 0
    reused: int = 0
    rebuilt: int = 0
    sequence: int | None = None
    created: str | None = None
    expires: str | None = None
    signed_by: str | None = None
    claimed_by: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(ReceivedBundle)


def now() -> str:
    """The time as the record has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record_bundle(store: Path, received: ReceivedBundle) -> None:
    """Append a line, unless the last one is of this bundle by the same signer. Raises `io-failed`."""
    last = received_bundles(store)[-1:]
    if last and (last[0].bundle, last[0].signed_by) == (received.bundle, received.signed_by):
        return
    path = store / FILE
    with io_errors(path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o644)
        try:
            # The newline comes first: whatever a crash left of the line before stays a line of its own.
            os.write(descriptor, b"\n" + msgspec.json.encode(received))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def received_bundles(store: Path) -> tuple[ReceivedBundle, ...]:
    """All of them, the oldest first; lines that cannot be read are left out. Raises as `read_limited`."""
    data = files.read_limited(store / FILE, _MAX_FILE) or b""
    found = []
    for line in data.splitlines():
        if not line.strip() or len(line) > _MAX_LINE:
            continue
        try:
            found.append(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    return tuple(found)
