"""Where `check` asks: the site's registry, by options and isthmus.yaml. Not here: what is asked (`check`)."""

from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.check import CheckResult, check
from isthmus.cli.command import DEFAULT_LOCK, Run
from isthmus.cli.connecting import connection_options, host_options
from isthmus.cli.siting import SiteRegistry, site_registry
from isthmus.cli.targets import stand_ins
from isthmus.inventory.lock import Lock
from isthmus.registry import connect

if TYPE_CHECKING:
    from isthmus.registry import ConnectionOptions, Registry


class Where:
    """The site's registry, by the options, and how it is reached."""

    def __init__(
        self,
        run: Run,
        registry: str | None,
        mapping: str | None,
        prefix: str | None,
        jobs: int,
        ca: Path | None,
        insecure: bool,
        plain_http: bool,
    ) -> None:
        self.run, self.given, self.jobs, self.ca = run, registry, max(jobs, 8), ca
        self._mapping, self._prefix = mapping, prefix
        self._insecure, self._plain_http = insecure, plain_http

    def site(self) -> SiteRegistry:
        """Raises UsageError where no registry is known."""
        return site_registry(self.run.config(), self.given, self._mapping, self._prefix)

    def options(self, site: SiteRegistry | None) -> "ConnectionOptions":
        """How anything of the site is reached."""
        trusted = self.ca or (Path(site.ca) if site and site.ca else None)
        is_plain = self._plain_http or bool(site and site.url.startswith("http://"))
        return connection_options(trusted, self._insecure, is_plain, self.jobs)

    def connect(self, site: SiteRegistry) -> "Registry":
        """The registry itself, as isthmus.yaml says of its host."""
        return connect(site.host, host_options(self.options(site), self.run.config(), site.host))

    def shows_certificate(self, site: SiteRegistry) -> bool:
        """Whether its registry speaks TLS, as far as was said; on loopback that is only seen by trying."""
        options = host_options(self.options(site), self.run.config(), site.host)
        return site.url.startswith("https://") and not options.plain_http

    def check(self, lock: Lock, *, blobs: bool = False, deep: bool = False) -> CheckResult:
        """Every reference of a lock, through the mapping."""
        site = self.site()
        with self.connect(site) as target, self.run.progress("check", "items"):
            known = stand_ins(self.run, site.host)
            return check(
                lock.references, target, site.mapping, self.jobs, deep=blobs, rehash=deep, stand_ins=known
            )


def lock_for(lock: Path, store: Path | None) -> Path:
    """The lock that is meant: the one that came into the store with its bundle, where there is no other here."""
    carried = store / DEFAULT_LOCK if store is not None else None
    usable = carried is not None and lock == DEFAULT_LOCK and not lock.exists() and carried.is_file()
    return carried if usable and carried is not None else lock


def is_local(host: str) -> bool:
    """Whether it is this machine's loopback, where registries speak plain HTTP unasked."""
    return host in ("localhost", "::1") or host.startswith("127.")
