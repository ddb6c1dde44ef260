"""The Authorization header for each request: basic, or a bearer token that is fetched, kept and renewed.

Distribution-spec token authentication (the distribution project's auth/token and auth/oauth documents). Not
here: sending (`session`), where credentials come from (`credentials`).
"""

import base64
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from isthmus.errors import UnreachableError, UsageError
from isthmus.registry import failures
from isthmus.registry.challenge import covers, merge_scopes, parse_challenges
from isthmus.registry.endpoint import Origin, follow, is_loopback
from isthmus.registry.options import Credential, CredentialSource
from isthmus.registry.retry import parse_retry_after
from isthmus.registry.transport import Transport

_ANSWER_LIMIT = 1024 * 1024
_DEFAULT_LIFE = 60.0  # where the server does not say (auth/token, "expires_in")
_USABLE = re.compile(r"[\x21-\x7e]+")
_CLIENT = "isthmus"

Scopes = tuple[str, ...]


class _Answer(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None
    refresh_token: str = ""


@dataclass(frozen=True)
class _Service:
    """Who gives tokens, as the registry's challenge says."""

    realm: str
    service: str


@dataclass
class _Kept:
    token: str
    until: float


class Authenticator:
    """Knows how a registry wants to be authenticated to, once it asked; safe for threads."""

    def __init__(
        self, host: str, transport: Transport, credentials: CredentialSource, *, token: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        if token and not _USABLE.fullmatch(token):
            raise UsageError("invalid-config", "the token holds characters that no token has", where=host)
        self._host = host
        self._transport = transport
        self._credentials = credentials
        self._fixed = token
        self._clock = clock
        self._lock = threading.Lock()
        self._basic = False
        self._service: _Service | None = None
        self._asked: dict[Scopes, Scopes] = {}
        self._kept: dict[str, dict[Scopes, _Kept]] = {}
        self._fetching: dict[tuple[str, Scopes], threading.Lock] = {}
        self._refresh: dict[str, str] = {}
        self._used: set[str] = set()

    def header(self, repository: str, scopes: Scopes) -> str:
        """What to send as Authorization; empty as long as the registry did not ask for anything."""
        if self._fixed:
            return f"Bearer {self._fixed}"
        if self._service is not None:
            return self._bearer(self._service, repository, self._asked.get(scopes, scopes))
        return self._basic_header(repository) if self._basic else ""

    def basic(self, repository: str) -> str:
        """Basic authentication, asked for or not; empty where there are no credentials with a name."""
        return self._basic_header(repository)

    def answer(self, challenge: str, origin: Origin, repository: str, scopes: Scopes, used: str) -> str:
        """Another header after a 401 to a request with header `used`; empty where there is no other."""
        if self._fixed:
            return ""
        offered = {one.scheme: one.parameters for one in reversed(parse_challenges(challenge))}
        if offered.get("bearer", {}).get("realm"):
            bearer = offered["bearer"]
            self._service = _Service(self._checked_realm(bearer["realm"], origin), bearer.get("service", ""))
            wanted = merge_scopes((*scopes, *bearer.get("scope", "").split()))
            with self._lock:
                self._asked[scopes] = wanted
            self._forget(repository, used)
            header = self._bearer(self._service, repository, wanted)
        elif "basic" in offered:
            self._basic = True
            header = self._basic_header(repository)
        else:
            return ""
        return header if header != used else ""

    def secrets(self, repository: str) -> tuple[str, ...]:
        """What must not be repeated in a message about a request."""
        with self._lock:
            tokens = [kept.token for kept in self._kept.get(repository, {}).values()]
            return (*self._used, *tokens, *([self._fixed] if self._fixed else ()))

    def _basic_header(self, repository: str) -> str:
        credential = self._credential(repository)
        if credential is None or not credential.username:
            return ""
        return _basic(credential)

    def _credential(self, repository: str) -> Credential | None:
        credential = self._credentials.find(self._host, repository)
        if credential is not None:
            with self._lock:
                self._used.update(credential.secrets)
                self._used.update(_basic(credential).split()[1:])
        return credential

    def _forget(self, repository: str, used: str) -> None:
        with self._lock:
            kept = self._kept.get(repository, {})
            for scopes in [scopes for scopes, one in kept.items() if used == f"Bearer {one.token}"]:
                del kept[scopes]

    def _bearer(self, service: _Service, repository: str, scopes: Scopes) -> str:
        with self._lock:
            lock = self._fetching.setdefault((repository, scopes), threading.Lock())
        with lock:  # many threads need the same token at the same moment; one fetches it
            kept = self._fresh(repository, scopes)
            if kept is None:
                kept = self._fetch(service, repository, scopes)
                with self._lock:
                    self._kept.setdefault(repository, {})[scopes] = kept
        return f"Bearer {kept.token}"

    def _fresh(self, repository: str, scopes: Scopes) -> _Kept | None:
        """A token that holds and was asked for these scopes or more."""
        now = self._clock()
        with self._lock:
            for asked, kept in self._kept.get(repository, {}).items():
                if kept.until > now and covers(asked, scopes):
                    return kept
        return None

    def _fetch(self, service: _Service, repository: str, scopes: Scopes) -> _Kept:
        credential = self._credential(repository)
        if credential is not None and credential.registry_token:
            return _Kept(credential.registry_token, float("inf"))
        before = self._clock()
        answer = self._ask(service, repository, scopes, credential)
        token = answer.token or answer.access_token
        if not _USABLE.fullmatch(token):
            raise failures.protocol("the token server gave no usable token", self._host)
        life = answer.expires_in if answer.expires_in is not None else _DEFAULT_LIFE
        life = min(max(life, 0.0), 86400.0)
        # Renewed before it ends, since a long upload is only authorised when it begins.
        return _Kept(token, before + life - min(10.0, life / 4))

    def _ask(self, service: _Service, repository: str, scopes: Scopes, credential: Credential | None) -> _Answer:
        refresh = credential.identity_token if credential else ""
        if refresh:
            form = {"grant_type": "refresh_token", "service": service.service, "client_id": _CLIENT}
            form |= {"scope": " ".join(scopes), "refresh_token": self._refresh.get(repository, refresh)}
            answer = self._exchange(service, "POST", "", urlencode(form).encode(), "")
            if answer.refresh_token:
                self._refresh[repository] = answer.refresh_token
            return answer
        query = [("service", service.service)] if service.service else []
        query += [("scope", scope) for scope in scopes] + [("client_id", _CLIENT)]
        authorization = ""
        if credential is not None and credential.username:
            query.append(("account", credential.username))
            authorization = _basic(credential)
        return self._exchange(service, "GET", urlencode(query), b"", authorization)

    def _exchange(self, service: _Service, method: str, query: str, form: bytes, authorization: str) -> _Answer:
        origin, target = _reach(service.realm)
        if query:
            target += ("&" if "?" in target else "?") + query
        headers = {"Authorization": authorization} if authorization else {}
        if form:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(form))}
        with self._transport.request(origin, method, target, headers, form) as response:
            wait = parse_retry_after(response.header("Retry-After"))
            body = response.read(_ANSWER_LIMIT)
        if response.status != 200:
            asked = f"the token server {origin.authority}"
            raise failures.from_answer(response.status, body, asked, retry_after=wait, secrets=self.secrets(""))
        try:
            return msgspec.json.decode(body, type=_Answer)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise failures.protocol(
                f"the token server {origin.authority} gave no JSON token", self._host
            ) from None

    def _checked_realm(self, realm: str, origin: Origin) -> str:
        reached, _ = _reach(realm)
        if reached.scheme == "http" and origin.scheme == "https" and not is_loopback(reached.host):
            raise UnreachableError(
                "refused",
                f"the registry wants credentials sent unencrypted, to {reached.authority}",
                where=self._host,
            )
        return realm


def _reach(realm: str) -> tuple[Origin, str]:
    reached = follow(Origin("https", "token.invalid", 443), "/", realm)
    if reached is None or reached[0].host == "token.invalid" or len(realm) > 4096:
        raise failures.protocol("the registry names a token server that is no URL")
    return reached


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()
