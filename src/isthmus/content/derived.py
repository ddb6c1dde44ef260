"""Files that are made of what a lock has: the list of what becomes stale, and falcoctl's index for the inside.

The originals are carried beside them. Not here: how old things are (`freshness`), falcoctl itself.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from isthmus.content.artifact import make_file
from isthmus.content.fetch import fetch_known
from isthmus.content.web import Web
from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.perishables import FALCO_INDEX, policy_of
from isthmus.inventory.yaml_builder import build
from isthmus.oci import Reference
from isthmus.progress import Meter
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.inventory.config import Config

LIST_NAME = "isthmus:perishables"
LIST_PATH = "isthmus/perishables.json"
INSIDE_INDEX = "falcoctl/index.yaml"
"""Where the file server has the index that names the site's registry."""
MAX_INDEX = 8 << 20


def derive(store: Store, web: Web, entries: Sequence[LockEntry], config: "Config | None") -> tuple[LockEntry, ...]:
    """Make them, in the store, and give their lock entries.

    Raises UsageError (`invalid-input`) for an index that cannot be read, and what fetching it raises.
    """
    found = []
    original = next((entry for entry in entries if entry.kind == "file" and entry.name == FALCO_INDEX), None)
    if original is not None and config is not None and config.site.registry.host:
        found.append(_inside_index(store, web, original, config))
    things = [entry for entry in entries if entry.max_age]
    if things:
        found.append(make_file(store, LIST_NAME, perishables_document(things), serve=LIST_PATH))
    return tuple(found)


def perishables_document(entries: Sequence[LockEntry]) -> bytes:
    """What becomes stale, with its age, source, maximum age, and what breaks then; sorted."""
    things = []
    for entry in sorted(entries, key=lambda entry: entry.key):
        policy = policy_of(entry.kind, entry.name)
        things.append(
            {
                "kind": entry.kind,
                "name": entry.name,
                "reference": entry.stored_name,
                "digest": entry.digest,
                "created": entry.created,
                "checked": entry.checked,
                "counts": policy.counts if policy else "checked",
                "max_age": entry.max_age,
                "purpose": policy.purpose if policy else "",
                "breaks": policy.breaks if policy else "what is served inside is older than isthmus.yaml allows",
            }
        )
    return (json.dumps({"version": 1, "things": things}, indent=1, ensure_ascii=False) + "\n").encode()


def _inside_index(store: Store, web: Web, original: LockEntry, config: "Config") -> LockEntry:
    part = original.contents[0]
    if part.size > MAX_INDEX:
        raise UsageError(
            "invalid-input", f"falcoctl's index is larger than {MAX_INDEX} bytes", where=original.name
        )
    fetch_known(store, web, part.url or original.name, part.digest, part.size, Meter(part.size), original.name)
    section = config.site.registry
    host = section.host.rpartition("://")[2].rstrip("/")
    mapping = MirrorMap(mapping=section.mapping, prefix=section.prefix.strip("/"))
    data = store.blobs.read(part.digest, MAX_INDEX)
    changed = rewrite_index(data, host, mapping, original.name)
    entry = make_file(store, f"{FALCO_INDEX}#inside", changed, serve=INSIDE_INDEX, created=original.created)
    return msgspec.structs.replace(entry, evidence=(f"derived from {FALCO_INDEX}",))


def rewrite_index(data: bytes, host: str, mapping: MirrorMap, where: str = FALCO_INDEX) -> bytes:
    """falcoctl's index with `registry` and `repository` of every entry as they are inside.

    Signatures are left out: falcoctl would ask Sigstore's servers about them, which are not inside; what is
    carried was verified by digest. Raises UsageError (`invalid-input`, `invalid-reference`).
    """
    try:
        documents = build(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise _wrong("it is not UTF-8 text", where) from error
    listed = documents[0] if len(documents) == 1 else None
    if not isinstance(listed, list):
        raise _wrong("it is not one list", where)
    entries = [_inside(entry, host, mapping, where) for entry in listed]
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000)
    return f"# {where}, with the site's registry in it.\n{text}".encode()


def _inside(entry: Any, host: str, mapping: MirrorMap, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) for key in ("registry", "repository")
    ):
        raise _wrong("an entry has no registry and repository", where)
    reference = Reference.parse(f"{entry['registry']}/{entry['repository']}")
    kept = {key: value for key, value in entry.items() if key != "signature"}
    return kept | {"registry": host, "repository": mapping.repository(reference)}


def _wrong(why: str, where: str) -> UsageError:
    return UsageError("invalid-input", f"not an index of falcoctl: {why}", where=where)
