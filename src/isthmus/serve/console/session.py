"""Sessions of the console as signed cookies, tokens against forged forms, and a limit to guessing. No HTTP.

All of it ends with the process. A session holds a user's name and what hash the password had, so that it ends
when the password changes.
"""

import base64
import hashlib
import hmac
import secrets
import time

import msgspec

from isthmus.serve.shared import ENDED, TRIED, SharedMarks, derived_key

LIFETIME = 3600
"""Seconds without a request after which a session ends."""

LONGEST = 12 * 3600
"""Seconds after which it ends in any case."""

FORM_LIFETIME = 3600
ATTEMPTS = 5
"""Wrong passwords for one name from one address, before both have to wait."""

ATTEMPTS_OF_ADDRESS = 30
WINDOW = 300.0
"""Seconds for which attempts are remembered."""

_MAX_COOKIE = 1024


class Session(msgspec.Struct, frozen=True):
    """Who has logged in, and when; `until` and `since` are in seconds since the epoch."""

    user: str
    since: float
    until: float
    key: str
    password: str

    def is_old(self, now: float) -> bool:
        """Whether it is time to give its owner a new one."""
        return self.until - now < LIFETIME / 2


class Sessions:
    """Makes and reads cookies."""

    def __init__(self) -> None:
        self._key = derived_key("console")
        self._decoder = msgspec.json.Decoder(Session)

    def begin(self, user: str, hashed: str) -> Session:
        """A new session."""
        now = time.time()
        return Session(user, now, now + LIFETIME, secrets.token_hex(12), self._tag(b"password", hashed.encode()))

    def go_on(self, session: Session) -> Session:
        """The same one with a later end."""
        until = min(time.time() + LIFETIME, session.since + LONGEST)
        return msgspec.structs.replace(session, until=until)

    def write(self, session: Session) -> str:
        """The cookie's value."""
        body = msgspec.json.encode(session)
        return f"{_encode(body)}.{self._tag(b'session', body)}"

    def read(self, text: str) -> Session | None:
        """The session, where it is ours and not over."""
        body_text, _, tag = text.partition(".")
        try:
            body = base64.urlsafe_b64decode(body_text + "=" * (-len(body_text) % 4))
        except ValueError:
            return None
        if len(text) > _MAX_COOKIE or not _same(tag, self._tag(b"session", body)):
            return None
        session = self._decoder.decode(body)
        return session if session.until > time.time() and session.key not in ENDED else None

    def fits(self, session: Session, hashed: str) -> bool:
        """Whether the password is still the one it began with."""
        return _same(session.password, self._tag(b"password", hashed.encode()))

    def end(self, session: Session) -> None:
        """Never read it again."""
        ENDED.add(session.key)

    def form_token(self, about: str) -> str:
        """What a form must bring back; `about` is the session's key, or the nonce of a cookie before one."""
        until = int(time.time()) + FORM_LIFETIME
        return f"{until}.{self._tag(b'form', f'{until}.{about}'.encode())}"

    def is_form_token(self, text: str, about: str) -> bool:
        """Whether it was made by `form_token`, not long ago, about the same."""
        until, _, tag = text.partition(".")
        if not about or not (until.isascii() and until.isdigit()) or len(until) > 12 or int(until) < time.time():
            return False
        return _same(tag, self._tag(b"form", f"{until}.{about}".encode()))

    def _tag(self, purpose: bytes, data: bytes) -> str:
        return _encode(hmac.digest(self._key, purpose + b"\0" + data, hashlib.sha256))


class Limiter:
    """Counts wrong passwords, in marks that all workers see. Bounded, and so forgetful under a flood of guesses.

    Every WINDOW begins anew. Without `shared` it is for this process and this server alone.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._marks = TRIED if shared else SharedMarks()

    def wait(self, address: str, name: str) -> int:
        """Seconds to wait before the next attempt; 0 where it may be made now."""
        now = time.time()
        is_over = self._count(now, address, name) >= ATTEMPTS or self._count(now, address) >= ATTEMPTS_OF_ADDRESS
        return int(WINDOW - now % WINDOW) + 1 if is_over else 0

    def failed(self, address: str, name: str) -> None:
        """A password was wrong."""
        now = time.time()
        for who in ((address, name), (address,)):
            self._marks.add(_mark(now, who, self._count(now, *who)))

    def _count(self, now: float, *who: str) -> int:
        count = 0
        while count < ATTEMPTS_OF_ADDRESS and _mark(now, who, count) in self._marks:
            count += 1
        return count


def _mark(now: float, who: tuple[str, ...], number: int) -> str:
    return "\0".join((str(int(now // WINDOW)), *who, "", str(number)))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
