"""Bearer tokens of the distribution token flow: who, and what was asked for, signed with a key of this server.

They end with the process and after minutes; what a user may do is looked up again for every request. Not here:
HTTP, users.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable

import msgspec

LIFETIME = 900
"""Seconds."""

MAX_SCOPES = 64
"""Repositories that one token may be for."""


class Grant(msgspec.Struct, frozen=True):
    """One repository by the name that it was asked for, and the actions (`pull`, `push`, `delete`)."""

    name: str
    actions: frozenset[str]


class Token(msgspec.Struct, frozen=True):
    """`user` is empty for nobody in particular; `until` is in seconds since the epoch."""

    user: str
    until: float
    grants: tuple[Grant, ...] = ()

    def allows(self, name: str, action: str) -> bool:
        """Whether that was asked for. A token for no repository is for none."""
        return any(grant.name == name and action in grant.actions for grant in self.grants)


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key or secrets.token_bytes(32)
        self._decoder = msgspec.json.Decoder(Token)

    def issue(self, user: str, grants: Iterable[Grant]) -> str:
        """A signed token."""
        body = msgspec.json.encode(Token(user, time.time() + LIFETIME, tuple(grants)))
        return f"{_encode(body)}.{_encode(self._sign(body))}"

    def read(self, text: str) -> Token | None:
        """The token, where it is ours and not over."""
        body_text, _, signature = text.partition(".")
        try:
            body = base64.urlsafe_b64decode(body_text + "=" * (-len(body_text) % 4))
            given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        except ValueError:
            return None
        if not hmac.compare_digest(given, self._sign(body)):
            return None
        token = self._decoder.decode(body)
        return token if token.until > time.time() else None

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


def parse_scopes(texts: Iterable[str]) -> tuple[Grant, ...]:
    """What `scope` asks for, `repository:NAME:pull,push` (several with spaces between); the rest is ignored."""
    grants: dict[str, set[str]] = {}
    for text in texts:
        for scope in text.split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if kind == "repository" and name and len(grants) < MAX_SCOPES:
                wanted = set(actions.split(","))
                wanted |= {"pull", "push", "delete"} if "*" in wanted else set()
                grants.setdefault(name, set()).update(wanted & {"pull", "push", "delete"})
    return tuple(Grant(name, frozenset(actions)) for name, actions in grants.items())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
