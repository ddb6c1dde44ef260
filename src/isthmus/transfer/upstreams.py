"""Which registry connection serves which upstream host; one connection pool a host, made when first asked for."""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from isthmus.oci import Reference
from isthmus.registry import ConnectionOptions, Fallback, Registry, connect

HostOptions = Callable[[str], ConnectionOptions]
"""How a host, as `host[:port]`, is reached."""


class Upstreams:
    """Registries by the host that references name. Close it, or use it as a context, to close connections.

    `substitutes` maps a host to the URL that stands for it, path included: a local mirror, or an upstream
    that a test made. `mirrors` maps a host to the URLs of others that have its content, in the order in which
    they are asked (see `Fallback`). `options` may differ by host; for a substitute or a mirror they are those
    of its own host, so that no host sees another's credentials.
    """

    def __init__(
        self,
        options: ConnectionOptions | HostOptions,
        substitutes: Mapping[str, str] | None = None,
        mirrors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._options: HostOptions = options if callable(options) else lambda _: options
        self._substitutes = dict(substitutes or {})
        self._mirrors = dict(mirrors or {})
        self._registries: dict[str, Registry | Fallback] = {}
        self._lock = threading.Lock()

    def registry(self, reference: Reference) -> Registry | Fallback:
        """The registry that holds the reference, and its mirrors; nothing is sent yet."""
        with self._lock:
            found = self._registries.get(reference.host)
            if found is None:
                found = self._registries[reference.host] = self._connect(reference.host)
            return found

    @property
    def requests(self) -> int:
        """HTTP requests so far, to all of them."""
        with self._lock:
            return sum(registry.requests for registry in self._registries.values())

    def _connect(self, host: str) -> Registry | Fallback:
        substitute = self._substitutes.get(host)
        registry = connect(host, self._options(_authority(substitute) if substitute else host), substitute)
        mirrors = [
            connect(_authority(url), self._options(_authority(url)), url) for url in self._mirrors.get(host, ())
        ]
        return Fallback(registry, mirrors) if mirrors else registry

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for registry in self._registries.values():
                registry.close()
            self._registries.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _authority(url: str) -> str:
    return urlsplit(url).netloc
