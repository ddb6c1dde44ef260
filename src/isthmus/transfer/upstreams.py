"""Which registry connection serves which upstream host; one connection pool a host, made when first asked for."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from isthmus.oci import Reference
from isthmus.registry import ConnectionOptions, Registry, connect


class Upstreams:
    """Registries by the host that references name. Close it, or use it as a context, to close connections.

    `substitutes` maps a host to the URL that stands for it, path included: a local mirror, or an upstream
    that a test made.
    """

    def __init__(self, options: ConnectionOptions, substitutes: Mapping[str, str] | None = None) -> None:
        self._options = options
        self._substitutes = dict(substitutes or {})
        self._registries: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def registry(self, reference: Reference) -> Registry:
        """The registry that holds the reference; raises UnreachableError where it cannot be reached."""
        with self._lock:
            found = self._registries.get(reference.host)
            if found is None:
                found = connect(reference.host, self._options, self._substitutes.get(reference.host))
                self._registries[reference.host] = found
            return found

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
