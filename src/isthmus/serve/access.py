"""Who may do what: Basic and Bearer credentials of a request, the challenge, and the token endpoint.

Follows the distribution project's token flow (its docs/spec/auth), by GET and by POST, so that `docker login`,
containerd and skopeo work. Not here: where users come from (`users`), what a repository is (`names`).
"""

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from isthmus.serve.answers import RefusedError, json_answer
from isthmus.serve.noted import ATTEMPT, CLAIMED, Attempt, claimed_name, request_key
from isthmus.serve.tokens import LIFETIME, Token, Tokens, parse_scopes
from isthmus.serve.users import Action, User, Users

SERVICE = "isthmus"
TOKEN_PATH = "/token"  # noqa: S105 -- a path, not a secret
MAX_WAITING = 64
"""Passwords that may wait for being checked; more are answered 429."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `user` None is nobody in particular; with a `token`, only what that was issued for."""

    user: User | None
    token: Token | None = None

    @property
    def name(self) -> str:
        """For the audit log."""
        return self.user.name if self.user else ""


CALLER = request_key("caller", Caller)
"""Where a request keeps who asks."""


class Access:
    """Decides. A token says who and what for; what the user may do is looked up for every request."""

    def __init__(self, users: Users, *, anonymous_pull: bool, key: bytes = b"") -> None:
        self._users = users
        self._tokens = Tokens(key)
        self._anonymous_pull = anonymous_pull
        self._checking = asyncio.Semaphore(2)
        self._waiting = 0

    @property
    def is_open(self) -> bool:
        """Whether reading needs no user."""
        return self._anonymous_pull

    async def log_in(self, request: web.Request, name: str, password: str) -> User:
        """The user whose password that is. Raises RefusedError (401, or 429 where too many wait)."""
        return await self._checked(request, name, password)

    async def caller(self, request: web.Request) -> Caller:
        """Who asks. Raises RefusedError (401) where that does not hold."""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return Caller(None)
        if scheme.lower() == "bearer":
            token = self._tokens.read(value.strip())
            if token is None:
                raise self._challenge(request, "", "invalid_token")
            user = self._users.find(token.user)
            if token.user and user is None:
                raise self._challenge(request, "", "invalid_token")
            return Caller(user, token)
        if scheme.lower() == "basic":
            return Caller(await self._basic(request, value))
        raise self._challenge(request, "", "")

    def check(self, request: web.Request, caller: Caller, name: str, full_name: str, action: Action) -> None:
        """Raise RefusedError (401, or 403) where the caller may not do that with the repository.

        `name` is as it was asked for and as scopes have it, `full_name` is what rights go by.
        """
        scope = _scope(name, action)
        if self._may(caller.user, action, full_name):
            if caller.token is None or caller.token.allows(name, action):
                return
            raise self._challenge(request, scope, "insufficient_scope")
        if caller.user is None:
            raise self._challenge(request, scope, "")
        raise RefusedError(403, "DENIED", f"{caller.name} may not do that with {name}")

    def check_someone(self, request: web.Request, caller: Caller) -> None:
        """Raise RefusedError (401) for nobody in particular, so that clients show who they are."""
        if caller.user is None and not (caller.token is not None and self._anonymous_pull):
            raise self._challenge(request, "", "")

    def check_file(self, caller: Caller, full_name: str) -> None:
        """Raise RefusedError (401, or 403) where the caller may not read what is not an image; by Basic alone."""
        if self._may(caller.user, "pull", full_name):
            return
        if caller.user is None:
            raise _basic_challenge("log in for that")
        raise RefusedError(403, "DENIED", f"{caller.name} may not read that")

    def may_read(self, caller: Caller, full_name: str) -> bool:
        """Whether the caller may read a repository, whatever the token was issued for."""
        return self._may(caller.user, "pull", full_name)

    def _may(self, user: User | None, action: Action, full_name: str) -> bool:
        if action == "pull" and self._anonymous_pull:
            return True
        return user is not None and user.may(action, full_name)

    async def issue(self, request: web.Request) -> web.Response:
        """Answer the token endpoint."""
        if request.method == "POST":
            form = await request.post()
            fields = {key: value for key, value in form.items() if isinstance(value, str)}
            if fields.get("grant_type") != "password":
                raise RefusedError(400, "UNSUPPORTED", "the only grant type is password")
            name = fields.get("username", "")
            request[CLAIMED] = claimed_name(name)
            user: User | None = await self._checked(request, name, fields.get("password", ""))
            scopes = [fields.get("scope", "")]
        else:
            caller = await self.caller(request)
            user, scopes = caller.user, request.query.getall("scope", [])
        if user is None and not self._anonymous_pull:
            raise _basic_challenge()
        token = self._tokens.issue(user.name if user else "", parse_scopes(scopes))
        issued = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        document = {"token": token, "access_token": token, "expires_in": LIFETIME, "issued_at": issued}
        return json_answer(document, headers={"Cache-Control": "no-store"})

    async def _basic(self, request: web.Request, value: str) -> User:
        found = basic_credentials(value)
        if found is None:
            raise _basic_challenge()
        request[CLAIMED] = claimed_name(found[0])
        return await self._checked(request, *found)

    async def _checked(self, request: web.Request, name: str, password: str) -> User:
        if self._waiting >= MAX_WAITING:
            raise RefusedError(429, "TOOMANYREQUESTS", "too many log in at once", {"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._checking:
                user = await asyncio.to_thread(self._users.check, name, password)
        finally:
            self._waiting -= 1
        if request.path == TOKEN_PATH:
            request[ATTEMPT] = Attempt("login", name) if user else Attempt("login", code="UNAUTHORIZED")
        if user is None:
            raise _basic_challenge()
        return user

    def _challenge(self, request: web.Request, scope: str, error: str) -> RefusedError:
        scheme = request.scheme
        if request.headers.get("X-Forwarded-Proto", "").lower() == "https":
            scheme = "https"  # the answer goes to whoever said so, and to nobody else
        host = "".join(c for c in request.host if c.isalnum() or c in ".:-[]_")
        parts = [f'realm="{scheme}://{host}{TOKEN_PATH}"', f'service="{SERVICE}"']
        parts += [f'scope="{scope}"'] if scope else []
        parts += [f'error="{error}"'] if error else []
        headers = {"WWW-Authenticate": "Bearer " + ",".join(parts)}
        return RefusedError(401, "UNAUTHORIZED", "log in for that", headers)


def basic_credentials(value: str) -> tuple[str, str] | None:
    """Name and password of what follows `Basic` (RFC 7617); without a colon, which of them it is is not known."""
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _basic_challenge(why: str = "no such user, or not that password") -> RefusedError:
    headers = {"WWW-Authenticate": f'Basic realm="{SERVICE}"'}
    return RefusedError(401, "UNAUTHORIZED", why, headers)


def _scope(name: str, action: Action) -> str:
    """For the challenge; whoever pushes also looks what is there."""
    actions = ",".join(sorted({action, "pull"}))
    return f"repository:{name}:{actions}"
