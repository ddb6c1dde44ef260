"""`Listen`: where and to whom a store is served. Only values."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Listen:
    """Port 0 means any free one. With `certificate` and `key` (PEM files) it is TLS, read again on change.

    `writable`: pushes are taken. `auth`: a file of users (`serve.users`); without one, everybody may do
    everything that the server does. `anonymous_pull`: reading needs no user all the same. `audit`: a file of
    JSON lines. `files`: host and port of the file server, if there is to be one, with `files_plain` without TLS;
    `files_dir`: a plain directory that it serves beside the store's artifacts, `files` in the store unless told
    otherwise.
    `bundle`: volumes, or directories of them, that are served instead of a store, signed by one of `keys`.
    `blobs`: an object storage (`s3://BUCKET/PREFIX?endpoint=URL`) for blobs; with `blobs_redirect`, clients are
    sent there. `workers`: processes. `collect_every` and `collect_grace`: seconds between collections of what
    nothing names, 0 for never, and how old it must be.
    `console`: pages for people; `ca`, the site's CA (PEM), and `lock` are what they offer and compare with.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    writable: bool = False
    auth: Path | None = None
    anonymous_pull: bool = False
    audit: Path | None = None
    files: tuple[str, int] | None = None
    files_plain: bool = False
    files_dir: Path | None = None
    bundle: tuple[Path, ...] = ()
    keys: tuple[Path, ...] = ()
    blobs: str = ""
    blobs_redirect: bool = False
    workers: int = 1
    collect_every: float = 0.0
    collect_grace: float = 3600.0
    console: bool = True
    ca: Path | None = None
    lock: Path | None = None
