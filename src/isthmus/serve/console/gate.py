"""Who looks at the console, and what they may see: the session's cookie, or Basic and Bearer as on the registry.

Without users, or with anonymous pull, everybody reads. Otherwise a page asks for a login, and a user sees the
repositories that the user may pull. Not here: the form itself (`login`).
"""

from dataclasses import dataclass, field

from aiohttp import web

from isthmus.serve.access import CALLER, Access, Caller, basic_credentials
from isthmus.serve.answers import RefusedError
from isthmus.serve.console.session import Limiter, Session, Sessions
from isthmus.serve.noted import ATTEMPT, CLAIMED, Attempt, claimed_name
from isthmus.serve.users import User, Users

COOKIE = "isthmus_console"
PATH = "/console"


class LoginNeededError(Exception):
    """Becomes a redirect to the form, or a 401 for what is no browser."""


@dataclass(frozen=True)
class Viewer:
    """Who looks. `access` None means that there are no users, and everybody sees everything."""

    caller: Caller = field(default_factory=lambda: Caller(None))
    access: Access | None = None
    session: Session | None = None

    @property
    def name(self) -> str:
        """The user's name, or nothing."""
        return self.caller.name

    @property
    def can_log_in(self) -> bool:
        """Whether there are users, and this is none of them."""
        return self.access is not None and self.caller.user is None

    @property
    def sees_all(self) -> bool:
        """Whether nothing has to be left out."""
        if self.access is None or self.access.is_open:
            return True
        rights = self.caller.user.rights if self.caller.user else ()
        return any(right.read and right.pattern == "*" for right in rights)

    @property
    def sees_requests(self) -> bool:
        """Whether what others asked for may be shown: only to users, where there are any."""
        return self.access is None or self.caller.user is not None

    def may_see(self, repository: str) -> bool:
        """Whether a repository, by its full name, may be shown."""
        return self.access is None or self.sees_all or self.access.may_read(self.caller, repository)


class Gate:
    """Finds out who asks."""

    def __init__(self, access: Access | None, users: Users | None, *, shared: bool = False) -> None:
        self.access = access
        self.sessions = Sessions()
        self.limiter = Limiter(shared=shared)
        self._users = users

    async def viewer(self, request: web.Request) -> Viewer:
        """Who looks. Raises LoginNeededError, RefusedError (401 for wrong credentials, 429 for too many)."""
        if self.access is None or self._users is None:
            return Viewer()
        session = self.session(request)
        if session is not None:
            user = self._users.find(session.user)
            viewer = Viewer(Caller(user), self.access, session)
        elif "Authorization" in request.headers:
            viewer = Viewer(await self._authorized(self.access, request), self.access)
        else:
            viewer = Viewer(Caller(None), self.access)
        request[CALLER] = viewer.caller
        if viewer.caller.user is None and not self.access.is_open:
            raise LoginNeededError
        return viewer

    def session(self, request: web.Request) -> Session | None:
        """The session that a request brings, where its user is still there and has the same password."""
        session = self.sessions.read(request.cookies.get(COOKIE, ""))
        user = self._users.find(session.user) if session and self._users else None
        return session if session and user and self.sessions.fits(session, user.hashed) else None

    def known_name(self, name: str) -> str:
        """The name where there is such a user, or nothing."""
        return name if self._users is not None and self._users.find(name) is not None else ""

    async def log_in(self, request: web.Request, name: str, password: str) -> User | None:
        """The user where the password is right. Raises RefusedError (429)."""
        assert self.access is not None
        address = request.remote or ""
        self.check_rate(address, name)
        try:
            user = await self.access.log_in(request, name, password)
        except RefusedError as refusal:
            if refusal.status == 401:
                self.limiter.failed(address, name)
                return None
            raise
        return user

    def check_rate(self, address: str, name: str) -> None:
        """Raise RefusedError (429) for who guessed too often."""
        seconds = self.limiter.wait(address, name)
        if seconds:
            raise RefusedError(
                429,
                "TOOMANYREQUESTS",
                f"too many wrong passwords; wait {seconds} s",
                {"Retry-After": str(seconds)},
            )

    async def _authorized(self, access: Access, request: web.Request) -> Caller:
        address, name = request.remote or "", _basic_name(request.headers["Authorization"])
        request[CLAIMED] = claimed_name(name)
        try:
            self.check_rate(address, name)
            return await access.caller(request)
        except RefusedError as refusal:
            request[ATTEMPT] = Attempt("login", code=refusal.code)
            if refusal.status == 401:
                self.limiter.failed(address, name)
                raise RefusedError(401, refusal.code, refusal.message, BASIC) from None
            raise


BASIC = {"WWW-Authenticate": 'Basic realm="isthmus"'}


def _basic_name(header: str) -> str:
    """The name that Basic credentials are for, or nothing."""
    scheme, _, value = header.partition(" ")
    found = basic_credentials(value) if scheme.lower() == "basic" else None
    return found[0][:128] if found else ""
