"""`isthmus serve`: serve a store as a registry."""

import os
import re
from pathlib import Path
from typing import get_args

import click

from isthmus.cli.command import Run, common_options
from isthmus.errors import UsageError
from isthmus.inventory.mapping import Mapping, MirrorMap, parse_mapping


@click.command("serve")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option(
    "--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Where to listen."
)
@click.option(
    "--files",
    metavar="[http://]HOST:PORT",
    help="Serve files, charts, packages and git repositories there; with http:// without TLS in any case.",
)
@click.option(
    "--files-dir",
    type=click.Path(path_type=Path),
    help="A directory to serve beside them.  [default: STORE/files]",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key, PEM.")
@click.option("--mapping", type=click.Choice(get_args(Mapping)), default="prefix", show_default=True)
@click.option("--prefix", default="mirror", show_default=True, help="The path before every name.")
@click.option("--writable", is_flag=True, help="Take pushes and deletions too; makes the store where missing.")
@click.option("--auth", type=click.Path(path_type=Path), help="Users: an htpasswd file with bcrypt hashes.")
@click.option("--anonymous-pull", is_flag=True, help="Reading needs no user, in spite of --auth.")
@click.option("--audit", type=click.Path(path_type=Path), help="Append a JSON line a request to this file.")
@click.option(
    "--bundle",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR|VOLUME",
    help="Serve a complete set of volumes as it is, without unpacking; may be repeated.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="With --bundle: require a signature by this public key.",
)
@click.option(
    "--blobs", metavar="s3://BUCKET/PREFIX?endpoint=URL", default="", help="Keep blobs in this object storage."
)
@click.option("--blobs-redirect", is_flag=True, help="Send clients to the object storage, by presigned URLs.")
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N", help="Processes that serve.  [default: one a core]"
)
@click.option("--collect-every", metavar="TIME", help="Collect garbage that often while serving, such as 24h.")
@click.option(
    "--collect-grace", default="1h", show_default=True, metavar="TIME", help="Never collect what is younger."
)
@click.option("--console/--no-console", default=True, show_default=True, help="Pages for people at /console/.")
@click.option("--ca", type=click.Path(path_type=Path), help="The site's CA (PEM), for the console to offer.")
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    help="The console compares with this.  [default: STORE/isthmus.lock]",
)
@common_options
def command(
    run: Run,
    store: Path | None,
    listen: str,
    files: str | None,
    files_dir: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    mapping: str,
    prefix: str,
    writable: bool,
    auth: Path | None,
    anonymous_pull: bool,
    audit: Path | None,
    bundle: tuple[Path, ...],
    keys: tuple[Path, ...],
    blobs: str,
    blobs_redirect: bool,
    workers: int | None,
    collect_every: str | None,
    collect_grace: str,
    console: bool,
    ca: Path | None,
    lock: Path | None,
) -> int:
    """Serve the store's images straight from where they are, until stopped; read-only unless told otherwise.

    Nothing is ever fetched from elsewhere: what is not there is answered so at once, and listed at
    /missing. What is pushed (--writable) under a name of the mapping goes where that name leads; any other
    name is the site's own and is kept as localhost/NAME.

    A line of --auth is NAME:HASH as `htpasswd -B` writes it, and may end in the user's rights:
    NAME:HASH:r=*,rw=localhost/team/*. Certificate, key and users are read again when they change. For
    monitoring there are /healthz, /readyz and /metrics, and for people /console/: what is held and what is
    missing, how to pull it, and how to set up nodes.

    \b
    Examples:
      isthmus serve --store /srv/store --listen 0.0.0.0:443 --tls-cert site.pem --tls-key site.key
      isthmus serve --bundle /media/disc1 --bundle /media/disc2 --key isthmus.pub --files 0.0.0.0:8080
      isthmus serve --writable --auth users.htpasswd --anonymous-pull
    """
    from isthmus.serve import Listen, serve_forever

    if bool(tls_cert) != bool(tls_key):
        raise UsageError("wrong-usage", "--tls-cert and --tls-key go together")
    if anonymous_pull and not auth:
        raise UsageError("wrong-usage", "--anonymous-pull is for --auth; without users, reading is open")
    host, port = split_address(listen)
    if bundle and (store or writable or blobs or collect_every):
        raise UsageError("wrong-usage", "--bundle is read-only, and no store is served beside it")
    if keys and not bundle:
        raise UsageError("wrong-usage", "--key is for --bundle; a store was verified when it was unpacked")
    if blobs_redirect and not blobs:
        raise UsageError("wrong-usage", "--blobs-redirect is for --blobs")
    if collect_every and not writable:
        raise UsageError(
            "wrong-usage", "--collect-every is for --writable; a store that is only read stays as it is"
        )
    check_places(files_dir, ca, is_serving_files=bool(files), has_console=console, compares=bool(lock))
    where = store or run.store_path
    names = MirrorMap(mapping=parse_mapping(mapping), prefix=prefix.strip("/"))

    files_scheme, _, files_place = (files or "").rpartition("://")
    if files_scheme not in ("", "http", "https") or (files_scheme == "https" and not tls_cert):
        raise UsageError(
            "wrong-usage", f"not an address to serve files at: {files}", hint="write [http://]HOST:PORT"
        )
    scheme = "https" if tls_cert else "http"

    def ready(address: str, files_address: str) -> None:
        if files_address:
            run.note(
                f"Files, charts, packages and git repositories are at {files_scheme or scheme}://{files_address}"
            )
        what = ", ".join(map(str, bundle)) or where
        run.note(f"Serving {what} at {scheme}://{address}; Ctrl-C stops.")
        if console:
            run.note(f"The console is at {scheme}://{address}/console/")

    options = Listen(
        host,
        port,
        tls_cert,
        tls_key,
        writable=writable,
        auth=auth,
        anonymous_pull=anonymous_pull,
        audit=audit,
        files=split_address(files_place) if files else None,
        files_plain=files_scheme == "http",
        files_dir=files_dir,
        bundle=bundle,
        keys=keys,
        blobs=blobs,
        blobs_redirect=blobs_redirect,
        workers=workers or len(os.sched_getaffinity(0)),
        collect_every=seconds_of(collect_every) if collect_every else 0.0,
        collect_grace=seconds_of(collect_grace),
        console=console,
        ca=ca,
        lock=lock,
    )
    serve_forever(where, names, options, ready=ready)
    return 0


def check_places(
    files_dir: Path | None, ca: Path | None, *, is_serving_files: bool, has_console: bool, compares: bool
) -> None:
    """Raise UsageError for what would do nothing (`wrong-usage`), or is not there (`file-not-found`)."""
    if files_dir and not is_serving_files:
        raise UsageError("wrong-usage", "--files-dir is for --files, which says where files are served")
    if files_dir and not files_dir.is_dir():
        raise UsageError("file-not-found", "there is no such directory", where=str(files_dir))
    if not has_console and (ca or compares):
        raise UsageError("wrong-usage", "--ca and --lock are for the console, which --no-console leaves out")
    if ca and not ca.is_file():
        raise UsageError("file-not-found", "there is no such file", where=str(ca))


def seconds_of(text: str) -> float:
    """Seconds of `90s`, `30m`, `24h` or `7d`; raises UsageError (`wrong-usage`)."""
    match = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)([smhd]?)", text.strip(), re.ASCII)
    if match is None:
        raise UsageError("wrong-usage", f"not a time such as 90s, 30m, 24h or 7d: {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPv6]:PORT`; raises UsageError (`wrong-usage`)."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError("wrong-usage", f"not HOST:PORT: {text!r}")
    return host.strip("[]"), int(port)
