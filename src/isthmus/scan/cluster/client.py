"""`ApiClient`: reads from one Kubernetes API server; there is nothing in it that could change anything.

Written on the standard library because five kinds of GET request need no client library of thirty
megabytes, and limits on answers are wanted. Not here: what is asked for (`discovery`, `objects`).
"""

import http.client
import json
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from isthmus.errors import UnreachableError, UsageError
from isthmus.scan.cluster.credentials import find, tls
from isthmus.scan.cluster.kubeconfig import KubeConfig
from isthmus.scan.document import list_at, mapping_at, text_at

TIMEOUT = 30.0
"""Seconds without a byte."""
MAX_ANSWER = 256 << 20
PAGE = 250
"""Objects in one answer."""
MAX_PAGES = 20_000
TRIES = 3
MAX_WAIT = 30.0
"""Seconds that a server may ask to be left alone for."""


class ApiError(Exception):
    """A request that the server refused; never leaves `scan.cluster`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiClient:
    """Connects when first asked. Every method raises UnreachableError, or ApiError for a refusal."""

    def __init__(self, config: KubeConfig, timeout: float = TIMEOUT) -> None:
        self._config = config
        self._timeout = timeout
        self._credentials = find(config)
        self._tls = tls(config, self._credentials)
        self._connection: http.client.HTTPConnection | None = None
        parts = urlsplit(config.server)
        self._host, self._prefix = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
        self._is_tls = parts.scheme == "https"

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """One JSON document."""
        target = self._prefix + path
        if query:
            target += "?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        for attempt in range(TRIES):
            status, body, wait = self._once(target, attempt)
            if status in {429, 503} and attempt + 1 < TRIES:
                time.sleep(min(wait, MAX_WAIT))
                continue
            break
        if status == 401:
            raise UnreachableError(
                "unauthorized",
                "the API server does not accept the credentials; has the token or certificate expired?",
                where=self._where,
                hint="get new credentials, and see whether `kubectl get pods` works with them",
                http_status=401,
            )
        if status != 200:
            raise ApiError(status, _message(body) or f"the server answers {status}")
        return self._parse(body)

    def list(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Every object of a collection, page by page."""
        token = ""
        for _ in range(MAX_PAGES):
            page = self.get(path, limit=str(PAGE), **query, **({"continue": token} if token else {}))
            yield from (item for item in list_at(page, "items") if isinstance(item, dict))
            token = text_at(mapping_at(page, "metadata"), "continue")
            if not token:
                return
        raise ApiError(200, f"the list has more than {MAX_PAGES} pages")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _where(self) -> str:
        return f"{self._config.path} ({self._config.context}, {self._host})"

    def _once(self, target: str, attempt: int) -> tuple[int, bytes, float]:
        headers = {"Accept": "application/json", "User-Agent": "isthmus"}
        if self._credentials.authorization:
            headers["Authorization"] = self._credentials.authorization
        user = text_at(self._config.user, "as")
        if user:
            headers["Impersonate-User"] = user
        try:
            connection = self._connected()
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER + 1)
        except ssl.SSLError as error:
            raise self._unreachable("tls-failed", f"TLS fails: {_reason(error)}") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if attempt + 1 < TRIES and isinstance(error, http.client.HTTPException | ConnectionResetError):
                return 503, b"", 0.0  # a kept connection that the server has closed
            raise self._unreachable(
                "unreachable", f"the API server cannot be reached: {_reason(error)}"
            ) from error
        if len(body) > MAX_ANSWER:
            self.close()
            raise UnreachableError(
                "protocol", f"an answer is larger than {MAX_ANSWER >> 20} MiB", where=self._where
            )
        wait = answer.headers.get("Retry-After", "1")
        return answer.status, body, float(wait) if wait.isdigit() else 1.0

    def _unreachable(self, code: str, message: str) -> UnreachableError:
        self.close()
        return UnreachableError(code, message, where=self._where, temporary=code == "unreachable")

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> http.client.HTTPConnection:
        host, proxy = self._host, self._proxy()
        first = proxy or host
        if not self._is_tls:
            return http.client.HTTPConnection(first, timeout=self._timeout)
        name = text_at(self._config.cluster, "tls-server-name")
        connection = _NamedConnection(first, name, timeout=self._timeout, context=self._tls)
        if proxy:
            connection.set_tunnel(host)
        return connection

    def _proxy(self) -> str:
        """The host and port of a proxy, the cluster's own or that of the environment."""
        address = text_at(self._config.cluster, "proxy-url")
        if not address:
            bare = self._host.rpartition(":")[0] or self._host
            if not self._is_tls or urllib.request.proxy_bypass(bare):
                return ""
            address = urllib.request.getproxies().get("https", "")
        if not address:
            return ""
        parts = urlsplit(address)
        if parts.scheme != "http" or parts.username:
            raise UsageError(
                "invalid-config",
                "only proxies of the form http://host:port are supported",
                where=self._config.path,
            )
        return parts.netloc

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnreachableError(
                "protocol", "the API server answers something that is not JSON", where=self._where
            ) from error
        if not isinstance(document, dict):
            raise UnreachableError(
                "protocol", "the API server answers something that is no object", where=self._where
            )
        return document


class _NamedConnection(http.client.HTTPSConnection):
    """Verifies the server by another name than its address's, where the kubeconfig says so."""

    def __init__(self, host: str, name: str, *, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, timeout=timeout, context=context)
        self._name = name
        self._own_context = context

    def connect(self) -> None:
        if not self._name:
            super().connect()
            return
        http.client.HTTPConnection.connect(self)
        self.sock = self._own_context.wrap_socket(self.sock, server_hostname=self._name)


def _message(body: bytes) -> str:
    """What a Status object says, which names no secrets."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return text_at(status, "message")[:300] if isinstance(status, Mapping) else ""


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:200] or type(error).__name__
