"""Git repositories: the branches and tags that are asked for, as the files that plain HTTP serves.

By the git program: one pack made with settings of our own, `packed-refs`, `info/refs`, `objects/info/packs`.
The same refs give the same bytes with the same version of git. Not here: serving (`serve`).
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from isthmus.content.artifact import complete, put_bytes, put_file
from isthmus.content.evidence import evidence_of
from isthmus.content.naming import serve_path, stored_name
from isthmus.content.web import Web
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.config import Addition
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.model import Ref
from isthmus.oci import Digest
from isthmus.store import Store

PATIENCE = 3600.0
MAX_REFS = 100_000
_LISTED = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\t(refs/(?:heads|tags)/[^\s~^:?*\[\\]+)", re.ASCII)
_SYMBOLIC = re.compile(r"ref: (refs/heads/\S+)\tHEAD", re.ASCII)
_PACKING = (
    "-c", "pack.threads=1", "-c", "pack.window=10", "-c", "pack.depth=50", "-c", "pack.compression=-1",
    "-c", "core.compression=-1", "-c", "pack.writeReverseIndex=false", "-c", "repack.writeBitmaps=false",
    "-c", "pack.indexVersion=2", "-c", "repack.useDeltaIslands=false", "-c", "gc.writeCommitGraph=false",
)  # fmt: skip


class Remote(msgspec.Struct, frozen=True):
    """What a repository offers: object names by ref, and the branch that HEAD means."""

    refs: dict[str, str]
    head: str = ""


def lock_git(
    ref: Ref,
    addition: Addition,
    store: Store,
    web: Web,
    cache: Path,
    max_age: int = 0,
    old: LockEntry | None = None,
) -> LockEntry:
    """The entry of a repository, everything in the store; where no ref moved since `old`, as that has it.

    Raises UsageError (`wrong-usage` without git, `invalid-config`), UnreachableError (also `not-found` for
    refs that are not there).
    """
    url = ref.name
    place = _checked(url, web)
    remote = _list(place, url)
    chosen = _choose(remote, addition.refs, url)
    resolved = tuple(f"{name} {value}" for name, value in sorted(chosen.items()))
    directory = cache / "git" / hashlib.sha256(url.encode()).hexdigest()[:32]
    head = remote.head if remote.head in chosen else min(chosen)
    if old is not None and old.resolved == resolved and _has(store, old, head, chosen):
        contents, created = old.contents, old.created
    else:
        _fetch(directory, place, chosen, url)
        contents, created = _made(store, directory, chosen, head), _newest(directory, chosen)
    return complete(
        LockEntry(
            kind="git",
            name=url,
            digest=Digest.of(b""),
            reference=stored_name("git", url),
            serve=_served(url, addition.serve),
            max_age=max_age,
            created=created,
            resolved=resolved,
            contents=contents,
            evidence=evidence_of(ref),
        )
    )


def _checked(url: str, web: Web) -> str:
    """The address to fetch from: of a substitute, where there is one."""
    if url.startswith(("http://", "https://")):
        return web.places(url)[0]
    if not url.startswith(("ssh://", "git://", "file://")) or any(ord(letter) <= 0x20 for letter in url):
        raise UsageError(
            "invalid-config", f"not the address of a git repository: {url[:200]!r}",
            hint="write https://host/path.git, ssh://user@host/path.git or file:///path",
        )  # fmt: skip
    return url


def _served(url: str, wanted: str) -> str:
    served = serve_path(url, wanted) if "://" in url and not url.startswith("file:") else ""
    return served or serve_path(url.replace("file://", "file://local"), wanted or "git/")


def _list(place: str, url: str) -> Remote:
    lines = _git(None, "ls-remote", "--symref", "--", place, where=url).splitlines()
    if len(lines) > MAX_REFS:
        raise UsageError("invalid-input", f"the repository has more than {MAX_REFS} refs", where=url)
    refs = {match[2]: match[1] for line in lines if (match := _LISTED.fullmatch(line))}
    head = next((match[1] for line in lines if (match := _SYMBOLIC.fullmatch(line))), "")
    return Remote(refs, head)


def _choose(remote: Remote, wanted: Sequence[str], url: str) -> dict[str, str]:
    """The refs by their short or full names; HEAD's branch where nothing is asked for."""
    patterns = wanted or ((remote.head,) if remote.head else ("*",))
    found: dict[str, str] = {}
    for pattern in patterns:
        fitting = {
            name: value
            for name, value in remote.refs.items()
            if fnmatchcase(name, pattern) or fnmatchcase(name.split("/", 2)[2], pattern)
        }
        if not fitting:
            raise UnreachableError(
                "not-found", f"the repository has no branch or tag {pattern[:100]!r}", where=url, http_status=404
            )
        found.update(fitting)
    return found


def _fetch(directory: Path, place: str, chosen: Mapping[str, str], url: str) -> None:
    """Bring the objects into a repository of our own, which also makes the next time quicker."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(
            "io-failed", f"it cannot be made: {error.strerror}", where=str(directory)
        ) from error
    _git(None, "init", "--bare", "--quiet", str(directory), where=url)
    for name in _git(directory, "for-each-ref", "--format=%(refname)", where=url).split():
        _git(directory, "update-ref", "-d", name, where=url)
    specs = "\n".join(f"+{name}:{name}" for name in sorted(chosen)) + "\n"
    _git(
        directory, "-c", "transfer.fsckObjects=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
        "--no-auto-gc", "--stdin", "--", place, where=url, given=specs,
    )  # fmt: skip
    here = dict(line.split(" ", 1) for line in _refs(directory, url))
    if here != dict(chosen):
        raise UnreachableError(
            "unreachable",
            "a ref moved while the repository was fetched",
            where=url,
            hint="run it again",
            temporary=True,
        )


def _refs(directory: Path, url: str) -> list[str]:
    return _git(directory, "for-each-ref", "--format=%(refname) %(objectname)", where=url).splitlines()


def _pack(directory: Path, made: Path, chosen: Mapping[str, str]) -> None:
    """One pack of exactly what the chosen refs lead to, in a directory laid out for plain HTTP."""
    shutil.rmtree(made, ignore_errors=True)
    place = made / "objects" / "pack"
    place.mkdir(parents=True)
    wanted = "".join(f"{value}\n" for value in sorted({*chosen.values()}))
    _git(
        directory, *_PACKING, "pack-objects", "--revs", "--no-reuse-delta", "--no-reuse-object", "--threads=1",
        "--delta-base-offset", "--quiet", str(place / "pack"), where=str(directory), given=wanted,
        own_settings=True,
    )  # fmt: skip


def _made(store: Store, directory: Path, chosen: Mapping[str, str], head: str) -> tuple[LockedContent, ...]:
    made = directory.with_suffix(".served")
    try:
        _pack(directory, made, chosen)
        return _contents(store, made, chosen, head)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _has(store: Store, old: LockEntry, head: str, chosen: Mapping[str, str]) -> bool:
    """Whether the store has all of an entry, with the same HEAD."""
    wanted = Digest.of(_head_text(head, chosen))
    return all(store.blob_size(part.digest) == part.size for part in old.contents) and any(
        part.path == "HEAD" and part.digest == wanted for part in old.contents
    )


def _head_text(head: str, chosen: Mapping[str, str]) -> bytes:
    return (f"ref: {head}\n" if head.startswith("refs/heads/") else f"{chosen[head]}\n").encode()


def _contents(store: Store, made: Path, chosen: Mapping[str, str], head: str) -> tuple[LockedContent, ...]:
    packs = sorted(path for path in (made / "objects" / "pack").iterdir() if path.suffix in (".pack", ".idx"))
    peeled = {name: _peeled(made.with_suffix(""), value) for name, value in chosen.items()}
    lines = [f"{value}\t{name}\n" + (f"{peeled[name]}\t{name}^{{}}\n" if peeled[name] != value else "")
             for name, value in sorted(chosen.items())]  # fmt: skip
    packed = [f"{value} {name}\n" + (f"^{peeled[name]}\n" if peeled[name] != value else "")
              for name, value in sorted(chosen.items())]  # fmt: skip
    texts = {
        "HEAD": _head_text(head, chosen).decode(),
        "packed-refs": "# pack-refs with: peeled fully-peeled sorted \n" + "".join(packed),
        "info/refs": "".join(lines),
        "objects/info/packs": "".join(f"P {path.name}\n" for path in packs if path.suffix == ".pack") + "\n",
    }
    found = []
    for name, text in texts.items():
        blob = put_bytes(store, text.encode())
        found.append(LockedContent(name, blob.digest, blob.size))
    for path in packs:
        blob = put_file(store, path)
        found.append(LockedContent(f"objects/pack/{path.name}", blob.digest, blob.size))
    return tuple(sorted(found))


def _peeled(directory: Path, value: str) -> str:
    return _git(directory, "rev-parse", "--verify", "--quiet", f"{value}^{{}}", where=str(directory)).strip()


def _newest(directory: Path, chosen: Mapping[str, str]) -> str:
    """When the newest of the commits was made, RFC 3339, UTC."""
    times = _git(directory, "log", "--no-walk", "--format=%ct", *sorted({*chosen.values()}), where=str(directory))
    newest = max((int(text) for text in times.split() if text.isdigit() and len(text) < 12), default=0)
    return datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if newest else ""


def _git(directory: Path | None, *arguments: str, where: str, given: str = "", own_settings: bool = False) -> str:
    """Run git; the user's settings (proxies, credentials) hold except for what makes bytes."""
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:git:file",
    }
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    if own_settings:
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", *(["--git-dir", str(directory)] if directory else []), *arguments]
    try:
        done = subprocess.run(
            command, input=given.encode(), capture_output=True, timeout=PATIENCE, check=False, env=environment
        )
    except FileNotFoundError as error:
        raise UsageError(
            "wrong-usage", "there is no git on this machine, which git repositories are fetched with",
            where=where, hint="install git, or leave the repository out of platform.add",
        ) from error  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError("unreachable", "git did not end", where=where) from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
        said = re.sub(r"://[^/@\s]*@", "://***@", said)
        raise UnreachableError(
            "refused", f"git {arguments[0] if directory is None else 'fetch'}: {said}", where=where
        )
    return done.stdout.decode("utf-8", "replace")
