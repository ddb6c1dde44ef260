"""A registry's conversation: every request with authentication, redirects and repetition taken care of.

Not here: what the requests are (`manifests`, `blobs`, `upload`, `listing`, `referrers`).
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.registry import failures
from isthmus.registry.credentials import default_credentials
from isthmus.registry.dial import answers_tls
from isthmus.registry.endpoint import Origin, Place, Scheme, follow
from isthmus.registry.exchange import Exchange, Response
from isthmus.registry.options import ConnectionOptions
from isthmus.registry.retry import parse_retry_after, retrying
from isthmus.registry.token import Authenticator, Scopes
from isthmus.registry.transport import Transport

MAX_REDIRECTS = 5

_ERROR_BODY = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to ask. `target` begins with a slash; `origin` None is the registry itself."""

    method: str
    target: str
    where: str
    repository: str = ""
    """The full name that credentials and scopes go by."""
    scopes: Scopes = ()
    accept: frozenset[int] = frozenset({200})
    """Statuses that are answers; any other is an error."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: Origin | None = None
    repeatable: bool = True
    may_leave_tls: bool = False
    """Whether a redirect may lead from https to http: only for content that is verified by its digest."""


class Session:
    """All requests to one registry; safe for threads."""

    def __init__(
        self, place: Place, options: ConnectionOptions, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.place = place
        self.options = options
        self.transport = Transport(options, place.host)
        self._sleep = sleep
        self._auth = Authenticator(
            place.name, self.transport, options.credentials or default_credentials(), token=options.token
        )
        self._scheme: Scheme | None = place.scheme
        self._probing = threading.Lock()

    def call(self, request: Request, *, once: bool = False) -> Response:
        """The answer, with one of the accepted statuses; close it. Raises UnreachableError."""

        def attempt() -> Response:
            return self._accepted(self._answered(request), request)

        try:
            if once or not request.repeatable:
                return attempt()
            return retrying(attempt, self.options, self._sleep)
        except IsthmusError as error:
            raise error.at(request.where) from error.__cause__

    def read(self, request: Request, limit: int) -> tuple[Response, bytes]:
        """As `call`, with a body of at most `limit` bytes; the answer is closed."""

        def attempt() -> tuple[Response, bytes]:
            with self._accepted(self._answered(request), request) as response:
                return response, response.read(limit)

        try:
            return retrying(attempt, self.options, self._sleep)
        except IsthmusError as error:
            raise error.at(request.where) from error.__cause__

    def start(self, request: Request) -> Exchange:
        """Begin a request whose body follows piece by piece; it cannot be repeated here. See `finish`."""

        def attempt() -> Exchange:
            origin = request.origin or self.origin()
            authorization = self._authorization(request, origin)
            headers = self._headers(request, origin, authorization)
            exchange = self.transport.start(origin, request.method, request.target, headers, fresh=False)
            exchange.authorization = authorization
            return exchange

        try:
            return retrying(attempt, self.options, self._sleep)
        except IsthmusError as error:
            raise error.at(request.where) from error.__cause__

    def finish(self, exchange: Exchange, request: Request, patience: float = 0.0) -> Response:
        """The answer to what `start` began, as `call` gives it; `patience` in seconds beyond the read timeout."""
        try:
            response = exchange.finish(patience)
            if response.status == 401:
                origin = request.origin or self.origin()
                # Not what would be sent now: another thread may have a new token already, which is to be kept.
                if self._other_authorization(response, request, origin, exchange.authorization):
                    raise UnreachableError(
                        "unauthorized", "the token ended during the upload", temporary=True, http_status=401
                    )
            return self._accepted(response, request)
        except IsthmusError as error:
            raise error.at(request.where) from error.__cause__

    def origin(self) -> Origin:
        """Where the registry is; a loopback host is asked once whether it speaks TLS."""
        if self._scheme is None:
            with self._probing:
                if self._scheme is None:
                    self._scheme = self._probe()
        return self.place.origin(self._scheme)

    def basic_authorization(self) -> str:
        """The Authorization for an API on the same host that does not ask for it; empty without credentials."""
        return self._auth.basic("")

    def close(self) -> None:
        """Close idle connections."""
        self.transport.close()

    def follow(self, response: Response, target: str, location: str, where: str) -> tuple[Origin, str]:
        """Where a Location leads from a request for `target`; never from https to http on the registry itself.

        A registry behind a proxy that ends TLS often names itself with http: there, the known origin is meant.
        """
        reached = follow(response.origin, target, location)
        if reached is None:
            raise failures.protocol("the registry names a location that is no URL", where)
        origin, onward = reached
        mine = self.origin()
        if mine.scheme == "https" and origin.scheme == "http":
            if origin.host.lower() != mine.host.lower():
                raise failures.protocol(f"the registry leads from TLS to plain HTTP, to {origin.authority}", where)
            origin = mine
        return origin, onward

    def _probe(self) -> Scheme:
        origin = self.place.origin("https")
        if self.place.port is None:
            # Ports differ then: TLS is answered only if something listens on 443.
            try:
                return "https" if answers_tls(origin, self.options) else "http"
            except OSError:
                return "http"
        try:
            return "https" if answers_tls(origin, self.options) else "http"
        except OSError as error:
            raise failures.from_exception(error, origin.authority) from error

    def _answered(self, request: Request) -> Response:
        """An answer that is neither a redirect nor a demand for other credentials that we have."""
        origin = request.origin or self.origin()
        target = request.target
        for step in range(MAX_REDIRECTS + 1):
            response = self._authorised(replace(request, target=target), origin)
            if step:
                response.secrets = tuple(value for _, value in parse_qsl(target.partition("?")[2]))
            location = response.header("Location")
            if response.status not in _REDIRECTS or request.method not in ("GET", "HEAD") or not location:
                return response
            response.close()
            origin, target = self._redirected(response.origin, target, location, request)
        raise failures.protocol(f"more than {MAX_REDIRECTS} redirects")

    def _redirected(self, origin: Origin, target: str, location: str, request: Request) -> tuple[Origin, str]:
        reached = follow(origin, target, location)
        if reached is None:
            raise failures.protocol(f"{origin.authority} redirects to something that is no URL")
        if origin.scheme == "https" and reached[0].scheme == "http" and not request.may_leave_tls:
            raise failures.protocol(f"{origin.authority} redirects from TLS to plain HTTP")
        return reached

    def _authorised(self, request: Request, origin: Origin) -> Response:
        used = self._authorization(request, origin)
        for _ in range(2):
            response = self._send(request, origin, used)
            if response.status != 401:
                return response
            try:
                other = self._other_authorization(response, request, origin, used)
            except BaseException:
                response.close()
                raise
            if not other:
                return response
            response.close()
            used = other
        return self._send(request, origin, used)

    def _other_authorization(self, response: Response, request: Request, origin: Origin, used: str) -> str:
        """Another Authorization for the registry itself; never one for any other host."""
        challenge = response.header("WWW-Authenticate")
        if origin != self.origin() or not challenge:
            return ""
        # The connection must be free: the token server may be the same host.
        response.keep_body(_ERROR_BODY)
        return self._auth.answer(challenge, origin, request.repository, request.scopes, used)

    def _send(self, request: Request, origin: Origin, authorization: str) -> Response:
        headers = self._headers(request, origin, authorization)
        return self.transport.request(
            origin, request.method, request.target, headers, request.body, repeatable=request.repeatable
        )

    def _headers(self, request: Request, origin: Origin, authorization: str) -> dict[str, str]:
        headers = dict(request.headers)
        if authorization and origin == self.origin():
            headers["Authorization"] = authorization
        if request.method in ("POST", "PUT", "PATCH"):
            headers.setdefault("Content-Length", str(len(request.body)))
        return headers

    def _authorization(self, request: Request, origin: Origin) -> str:
        return self._auth.header(request.repository, request.scopes) if origin == self.origin() else ""

    def _accepted(self, response: Response, request: Request) -> Response:
        if response.status in request.accept:
            return response
        with response:
            wait = parse_retry_after(response.header("Retry-After"))
            try:
                body = response.read(_ERROR_BODY)
            except UnreachableError:
                body = b""  # the status says enough
        secrets = (*self._auth.secrets(request.repository), *response.secrets)
        error = failures.from_answer(
            response.status, body, response.origin.authority, retry_after=wait, secrets=secrets
        )
        quota = self.transport.quota(response.origin) if error.code == "rate-limited" else ""
        if quota:
            error.hint = f"{quota}; {error.hint}"
        raise error
