"""`Listen`: where and to whom a store is served. Only values."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Listen:
    """Port 0 means any free one. With `certificate` and `key` (PEM files) it is TLS, read again on change.

    `writable`: pushes are taken. `auth`: a file of users (`serve.users`); without one, everybody may do
    everything that the server does. `anonymous_pull`: reading needs no user all the same. `audit`: a file of
    JSON lines. `files`: host and port of the file server, if there is to be one; `files_dir`: a plain directory
    that it serves beside the store's artifacts, `files` in the store unless told otherwise.
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
    files_dir: Path | None = None
    console: bool = True
    ca: Path | None = None
    lock: Path | None = None
