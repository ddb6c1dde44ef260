"""Users and what they may do: an htpasswd file with bcrypt hashes, read again when it changes.

A line is `NAME:HASH`, as `htpasswd -B` writes it, and such a user may read and write everything. A third field
limits that: `NAME:HASH:r=*,rw=localhost/team/*`, with patterns over full names as in `isthmus.lock` (`*` also
matches slashes). Not here: HTTP.
"""

import fnmatch
import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from isthmus.errors import UsageError
from isthmus.serve import bcrypt

Action: TypeAlias = Literal["pull", "push", "delete"]

REMEMBER_SECONDS = 300.0
"""How long a password that was right is not hashed again."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}", re.ASCII)
_RIGHT = re.compile(r"(r|w|rw)=([a-z0-9._/:*?\[\]-]{1,300})", re.ASCII)
_LIMIT = 1024 * 1024  # bytes of the file
_REMEMBERED = 1024


@dataclass(frozen=True)
class Right:
    """What may be done with repositories whose full names match a pattern."""

    pattern: str
    read: bool
    write: bool


@dataclass(frozen=True)
class User:
    """One line of the file."""

    name: str
    hashed: str
    rights: tuple[Right, ...] = (Right("*", True, True),)

    def may(self, action: Action, repository: str) -> bool:
        """Whether the user may do that with a repository, by its full name; empty means any at all."""
        for right in self.rights:
            allowed = right.read if action == "pull" else right.write
            if allowed and (not repository or fnmatch.fnmatchcase(repository, right.pattern)):
                return True
        return False


def parse_users(text: str, where: str = "") -> dict[str, User]:
    """The users of a file's text. Raises UsageError `invalid-config`; hashes never appear in it."""
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        hashed, colon, rights = rest.partition(":")
        place = f"{where}:{number}"
        if not _NAME.fullmatch(name) or name in users:
            raise UsageError(
                "invalid-config", "not the name of a user, or one that was there already", where=place
            )
        if not bcrypt.HASH.fullmatch(hashed):
            hint = f"`htpasswd -B FILE {name}` writes one"
            raise UsageError(
                "invalid-config", f"the password of {name} is not a bcrypt hash", where=place, hint=hint
            )
        users[name] = User(name, hashed, _rights(rights, place)) if colon else User(name, hashed)
    return users


def _rights(text: str, where: str) -> tuple[Right, ...]:
    found = []
    for part in filter(None, re.split(r"[,\s]+", text)):
        match = _RIGHT.fullmatch(part)
        if match is None:
            hint = "write r=PATTERN, w=PATTERN or rw=PATTERN, with commas between"
            raise UsageError("invalid-config", f"not a right: {part[:100]!r}", where=where, hint=hint)
        found.append(Right(match[2], "r" in match[1], "w" in match[1]))
    return tuple(found)


class Users:
    """A file and who is in it now. Safe for threads. Raises `file-not-found`, `invalid-config` when it is made."""

    def __init__(self, path: Path) -> None:
        bcrypt.require()
        self._path = path
        self._mark = self._current_mark()
        self._users = parse_users(_read(path), str(path))
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def _current_mark(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def reload(self) -> None:
        """Read the file again where it changed. Raises UsageError, and then who was in it stays."""
        mark = self._current_mark()
        if mark != self._mark:
            self._mark = mark
            self._users = parse_users(_read(self._path), str(self._path))

    def find(self, name: str) -> User | None:
        """A user by name."""
        return self._users.get(name)

    def check(self, name: str, password: str) -> User | None:
        """The user, where the password is right. Takes tens of milliseconds, so it is for threads."""
        user = self._users.get(name)
        hashed = user.hashed if user else bcrypt.NOBODY
        key = hmac.digest(self._secret, f"{name}\0{hashed}\0{password}".encode(), hashlib.sha256)
        with self._lock:
            if user is not None and self._known.get(key, 0.0) > time.monotonic():
                return user
        if not bcrypt.check(password.encode(), hashed) or user is None:
            return None
        with self._lock:
            self._known[key] = time.monotonic() + REMEMBER_SECONDS
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return user


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise UsageError("invalid-config", f"it is larger than {_LIMIT} bytes", where=str(path))
        return data.decode()
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such file", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("invalid-config", f"not readable: {type(error).__name__}", where=str(path)) from error
