"""What `check` looks at besides the registry and the store: file server, certificates, inventories.

Not here: the command and what it prints (`check`).
"""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from isthmus.cli.asking import is_local
from isthmus.cli.command import Run
from isthmus.cli.connecting import host_options
from isthmus.cli.siting import SiteRegistry
from isthmus.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from isthmus.check import CheckResult
    from isthmus.check.certificates import CertificateLife
    from isthmus.inventory.config import Config
    from isthmus.inventory.lock import LockEntry
    from isthmus.inventory.model import Inventory
    from isthmus.registry import ConnectionOptions

MAX_INVENTORY = 256 << 20


def read_inventory(path: Path) -> "Inventory":
    """What `scan --out` wrote. Raises UsageError `file-not-found`, `invalid-input`."""
    import msgspec

    from isthmus.inventory.model import Inventory

    try:
        with path.open("rb") as file:
            data = file.read(MAX_INVENTORY + 1)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such file", where=str(path)) from error
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error
    try:
        return msgspec.json.decode(data[:MAX_INVENTORY], type=Inventory)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        hint = "isthmus scan --out FILE writes one"
        raise UsageError(
            "invalid-input", f"not an inventory: {str(error)[:200]}", where=str(path), hint=hint
        ) from error


def files_url(config: "Config | None") -> str:
    """The file server as isthmus.yaml has it, or nothing."""
    section = config.site.files if config else None
    if section is None or not section.host:
        return ""
    return f"{section.scheme}://{section.host}:{section.port}"


def check_served(
    run: Run, entries: "tuple[LockEntry, ...]", url: str, base: "ConnectionOptions", jobs: int, *, rehash: bool
) -> "CheckResult":
    """Ask the file server for what the lock has there. Raises UsageError for what is no URL."""
    from isthmus.check.files import check_files
    from isthmus.content.web import Web

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError("wrong-usage", f"--files {url[:200]!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
    with Web(lambda host: host_options(base, run.config(), host)) as web:
        return check_files(entries, url, web, jobs, rehash=rehash)


def certificates(
    run: Run, registry: SiteRegistry | None, files: str, now: dt.datetime
) -> "tuple[CertificateLife, ...]":
    """Those that registry and file server show, and those of the directory of `isthmus pki` where there is one."""
    from isthmus.check.certificates import Server, life, presented

    servers = []
    if registry is not None and registry.url.startswith("https://"):
        parts = urlsplit(registry.url)
        servers.append(Server("registry", parts.hostname or "", parts.port or 443))
    if files.startswith("https://"):
        parts = urlsplit(files)
        servers.append(Server("file server", parts.hostname or "", parts.port or 443))
    # Loopback registries may speak plain HTTP unasked, and then show none.
    found = [each for each in presented(servers, now) if not each.problem or not _is_loopback(each.where)]
    config = run.config()
    directory = Path(config.site.pki.directory if config else "pki")
    if (directory / "issuing.pem").exists():
        from isthmus.site.pki.authority import Settings, open_authority

        issued = open_authority(directory, Settings()).list()
        found += [life("pki", each.name, each.until, each.names, now) for each in issued]
    return tuple(found)


def _is_loopback(where: str) -> bool:
    return is_local(where.rpartition(":")[0].strip("[]"))
