"""`check_files`: everything of a lock that the site's file server should have is there, by path, size and digest.

One HEAD a file. A server that names digests as ETags (`isthmus serve`) is compared by digest, any other by size;
with `rehash` the bytes are read and hashed. Not here: what is in a registry (`registry`).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import quote

from isthmus.check.result import CheckResult, Finding, Verdict, sum_up
from isthmus.content.web import Web
from isthmus.errors import IsthmusError
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.oci.content import new_buffer

_ETAG: Final = re.compile(r'"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"', re.ASCII)
_ABOUT_ONE_FILE: Final = frozenset({"not-found", "unauthorized", "refused", "protocol"})


def served(entry: LockEntry) -> Iterator[tuple[str, LockedContent]]:
    """Every file of an entry with its path on the file server; nothing where it is not served."""
    if entry.serve:
        for content in entry.contents:
            yield entry.serve if entry.kind == "file" else f"{entry.serve}/{content.path}", content


def check_files(
    entries: Iterable[LockEntry], base: str, web: Web, jobs: int = 16, *, rehash: bool = False
) -> CheckResult:
    """Ask the file server at `base` (`scheme://host[:port][/path]`) for every file of the entries.

    `present` counts entries that are whole. Raises UnreachableError where the server cannot be reached at all.
    """
    wanted = [(entry, list(served(entry))) for entry in entries]

    def verdict(item: tuple[LockEntry, list[tuple[str, LockedContent]]]) -> Verdict:
        entry, files = item
        found = []
        for path, content in files:
            if why := _complaint(web, f"{base.rstrip('/')}/{quote(path)}", content, rehash=rehash):
                found.append(Finding(entry.name, f"{path} {why}", str(content.digest), path))
        return Verdict(missing=tuple(found))

    with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="isthmus-check") as pool:
        try:
            return sum_up(pool.map(verdict, [item for item in wanted if item[1]]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _complaint(web: Web, url: str, content: LockedContent, *, rehash: bool) -> str:
    """What is wrong with one file, or nothing."""
    try:
        if rehash:
            return _read(web, url, content)
        with web.open(url, method="HEAD") as response:
            told, length = response.header("ETag"), response.header("Content-Length")
    except IsthmusError as error:
        if error.code not in _ABOUT_ONE_FILE:
            raise
        return "is not there" if error.code == "not-found" else f"cannot be had: {error.message}"
    named = _ETAG.fullmatch(told.strip())
    if named and named[1].startswith(f"{content.digest.algorithm}:") and named[1] != content.digest:
        return f"is another file: it has the digest {named[1]}"
    if length.isascii() and length.isdigit() and int(length) != content.size:
        return f"has {length} bytes instead of {content.size}"
    return ""


def _read(web: Web, url: str, content: LockedContent) -> str:
    found, count = hashlib.new(content.digest.algorithm), 0
    buffer = new_buffer()
    with web.open(url) as response:
        while read := response.readinto(buffer):
            found.update(buffer[:read])
            count += read
            if count > content.size:
                return f"has more than its {content.size} bytes"
    if count != content.size:
        return f"has {count} bytes instead of {content.size}"
    digest = f"{content.digest.algorithm}:{found.hexdigest()}"
    return "" if digest == content.digest else f"is another file: it has the digest {digest}"
