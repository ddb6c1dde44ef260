"""Logging in and out of the console: the form, its token, the cookies. Not here: who may see what (`gate`)."""

import logging
import secrets

from aiohttp import web

from isthmus.serve.answers import RefusedError
from isthmus.serve.console.gate import COOKIE, PATH, Gate
from isthmus.serve.console.rendering import Renderer
from isthmus.serve.console.session import LONGEST, Session
from isthmus.serve.noted import ATTEMPT, Attempt

FORM_COOKIE = "isthmus_login"
_log = logging.getLogger("isthmus.serve")


class Login:
    """Answers `/console/login` and `/console/logout`."""

    def __init__(self, gate: Gate, renderer: Renderer) -> None:
        self._gate = gate
        self._renderer = renderer

    async def form(self, request: web.Request) -> web.StreamResponse:
        """GET: the form, or on to where a user wants to go who has logged in."""
        if self._gate.access is None:
            raise web.HTTPSeeOther(f"{PATH}/")
        if self._gate.session(request) is not None:
            raise web.HTTPSeeOther(_next(request.query.get("next", "")))
        return self._form(request, _next(request.query.get("next", "")), "")

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST: begin a session where name and password are right."""
        if self._gate.access is None:
            raise web.HTTPSeeOther(f"{PATH}/")
        request[ATTEMPT] = Attempt("login")  # where what is sent is no form, too
        fields = await _fields(request)
        known = self._gate.known_name(fields.get("name", ""))
        place = _next(fields.get("next", ""))
        nonce = request.cookies.get(FORM_COOKIE, "")
        if not is_same_site(request) or not self._gate.sessions.is_form_token(fields.get("token", ""), nonce):
            request[ATTEMPT] = Attempt("login", code="DENIED", claimed=known)
            message = "That form was too old, or cookies are off. Please try once more."
            return self._form(request, place, message, 403)
        name = fields.get("name", "")[:128]
        try:
            user = await self._gate.log_in(request, name, fields.get("password", "")[:1024])
        except RefusedError as refusal:
            request[ATTEMPT] = Attempt("login", code=refusal.code, claimed=known)
            answer = self._form(request, place, f"{refusal.message}.".capitalize(), refusal.status, name)
            answer.headers.update(refusal.headers)
            return answer
        if user is None:
            request[ATTEMPT] = Attempt("login", code="UNAUTHORIZED", claimed=known)
            _log.warning("console: a wrong password for %s from %s", known or "nobody we know", request.remote)
            return self._form(request, place, "No such user, or not that password.", 401, name)
        request[ATTEMPT] = Attempt("login", user.name)
        _log.info("console: %s logged in from %s", user.name, request.remote)
        answer = web.Response(status=303, headers={"Location": place})
        answer.del_cookie(FORM_COOKIE, path=f"{PATH}/login")
        self.set_cookie(request, answer, self._gate.sessions.begin(user.name, user.hashed))
        return answer

    async def leave(self, request: web.Request) -> web.StreamResponse:
        """POST: end the session."""
        session = self._gate.session(request)
        answer = web.Response(status=303, headers={"Location": f"{PATH}/"})
        if session is not None:
            request[ATTEMPT] = Attempt("logout", session.user)
            token = (await _fields(request)).get("token", "")
            if not is_same_site(request) or not self._gate.sessions.is_form_token(token, session.key):
                request[ATTEMPT] = Attempt("logout", session.user, "DENIED")
                raise RefusedError(403, "DENIED", "that form was too old; go back and try once more")
            self._gate.sessions.end(session)
        answer.del_cookie(COOKIE, path=PATH)
        return answer

    def set_cookie(self, request: web.Request, answer: web.StreamResponse, session: Session) -> None:
        """Give the browser a session."""
        answer.set_cookie(
            COOKIE,
            self._gate.sessions.write(session),
            path=PATH,
            max_age=LONGEST,
            httponly=True,
            samesite="Strict",
            secure=is_secure(request),
        )

    def _form(
        self, request: web.Request, place: str, problem: str, status: int = 200, name: str = ""
    ) -> web.Response:
        nonce = request.cookies.get(FORM_COOKIE, "")
        if not (len(nonce) == 32 and nonce.isalnum()):
            nonce = secrets.token_hex(16)
        token = self._gate.sessions.form_token(nonce)
        answer = self._renderer.page(
            "login.html", {"token": token, "next": place, "problem": problem, "user_name": name}, status=status
        )
        answer.set_cookie(
            FORM_COOKIE,
            nonce,
            path=f"{PATH}/login",
            max_age=3600,
            httponly=True,
            samesite="Strict",
            secure=is_secure(request),
        )
        return answer


def is_secure(request: web.Request) -> bool:
    """Whether the browser came by TLS, to us or to a proxy before us."""
    return request.scheme == "https" or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def is_same_site(request: web.Request) -> bool:
    """Whether a form comes from a page of ours, as far as the browser says."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _next(text: str) -> str:
    """A place of the console to go on to; never another site's."""
    inside = text.startswith(f"{PATH}/") and text.isascii() and text.isprintable()
    return text if inside and "\\" not in text and "//" not in text and len(text) < 2048 else f"{PATH}/"


async def _fields(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise RefusedError(415, "UNSUPPORTED", "that is not the form")
    return {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
