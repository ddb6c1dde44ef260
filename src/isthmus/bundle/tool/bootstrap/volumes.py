"""Volumes and their signed manifest, as docs/bundle-format.md describes them. Not here: what is in blobs."""

import hashlib
import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from isthmus.bundle.tool.bootstrap.ed25519 import ed25519_verifies
from isthmus.bundle.tool.bootstrap.medium import Refused, open_plain, say
from isthmus.bundle.tool.bootstrap.trust import Trust

HEADER, RECORD, TRAILER = 1024, 112, 32
MAX_MANIFEST = 16 * 1024 * 1024


class Bundle(NamedTuple):
    """A bundle whose manifest is signed by whom the site trusts; `files` are the volumes that are here."""

    bundle: bytes
    raw: bytes
    manifest: "dict[str, Any]"
    files: "dict[int, Path]"


def list_volumes(places: "list[str]") -> "list[Path]":
    """The volumes in these directories, or those files themselves."""
    found = []
    for place in map(Path, places):
        found += sorted(place.glob("*.isv")) if place.is_dir() else [place]
    if not found:
        raise Refused(3, f"there is no volume (NAME-0001.isv) in {', '.join(places)}")
    return found


def read_bundles(paths: "list[Path]", trust: Trust) -> "list[Bundle]":
    """Every bundle that there are volumes of, without what is damaged. Raises Refused: not signed as required."""
    found: dict[bytes, Bundle] = {}
    damaged = Refused(4, "no volume can be read")
    for path in paths:
        try:
            with open_plain(path) as file:
                number, bundle, raw, slots = _beginning(file, path)
        except Refused as error:
            damaged = error
            say(f"Left out: {error}")
            continue
        if bundle not in found:
            _require_signatures(path, raw, slots, trust)
            try:
                found[bundle] = Bundle(bundle, raw, json.loads(raw), {})
            except (ValueError, RecursionError) as error:
                raise Refused(4, f"{path}: its manifest cannot be read") from error
        found[bundle].files.setdefault(number, path)
    if not found:
        raise damaged
    return list(found.values())


def _beginning(file: BinaryIO, path: Path) -> "tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]":
    """The volume's number, its bundle's id, the manifest, and the signatures (key id, value)."""
    head = file.read(HEADER)
    if len(head) != HEADER or head[:8] != b"\x89ISV\r\n\x1a\n":
        raise Refused(4, f"{path}: not a volume, or damaged")
    if struct.unpack(">I", head[1020:])[0] != zlib.crc32(head[:1020]):
        raise Refused(4, f"{path}: its header is damaged; copy it again")
    major, _, number, _, bundle, _, size, _, count = struct.unpack(">HHII32sQQIH", head[8:74])
    if major != 1:
        raise Refused(2, f"{path}: of format version {major}, which this script does not read")
    if size > MAX_MANIFEST or count > 8:
        raise Refused(4, f"{path}: its header is impossible")
    file.seek(HEADER + RECORD)
    raw = file.read(size)
    if hashlib.sha256(raw).digest() != bundle:
        raise Refused(4, f"{path}: its manifest is damaged; copy it again")
    slots = [head[80 + 104 * slot : 184 + 104 * slot] for slot in range(count)]
    return number, bundle, raw, [(slot[8:40], slot[40:]) for slot in slots if slot[:2] == b"\0\1"]


def _require_signatures(path: Path, raw: bytes, slots: "list[tuple[bytes, bytes]]", trust: Trust) -> None:
    ids = {hashlib.sha256(key).digest(): key for key in trust.keys}
    signed = {name for name, value in slots if name in ids and ed25519_verifies(ids[name], raw, value)}
    if len(signed) < trust.threshold or not signed:
        by = ", ".join(name.hex()[:16] for name, _ in slots) or "nobody"
        raise Refused(4, f"{path}: not signed as required: it says that it is signed by {by}; nothing was run")


def require_timely(bundle: Bundle, trust: Trust) -> None:
    """Refuse a bundle that has expired, or that is older than what the site has taken."""
    expires, taken = bundle.manifest.get("expires"), trust.taken.get(str(bundle.manifest["name"]))
    if expires is not None and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) >= expires:
        raise Refused(4, f"the bundle expired at {expires}")
    if taken is not None and (bundle.manifest.get("sequence") or -1) < taken["sequence"]:
        raise Refused(4, f"the bundle is older than number {taken['sequence']}, which this site has taken")
