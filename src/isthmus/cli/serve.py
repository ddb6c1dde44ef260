"""`isthmus serve`: serve a store as a registry."""

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
@click.option("--files", metavar="HOST:PORT", help="Serve files, charts, packages and git repositories there.")
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
      isthmus serve --writable --auth users.htpasswd --anonymous-pull
    """
    from isthmus.serve import Listen, serve_forever

    if bool(tls_cert) != bool(tls_key):
        raise UsageError("wrong-usage", "--tls-cert and --tls-key go together")
    if anonymous_pull and not auth:
        raise UsageError("wrong-usage", "--anonymous-pull is for --auth; without users, reading is open")
    host, port = split_address(listen)
    where = store or run.store_path
    names = MirrorMap(mapping=parse_mapping(mapping), prefix=prefix.strip("/"))

    scheme = "https" if tls_cert else "http"

    def ready(address: str, files_address: str) -> None:
        if files_address:
            run.note(f"Files, charts, packages and git repositories are at {scheme}://{files_address}")
        run.note(f"Serving {where} at {scheme}://{address}; Ctrl-C stops.")
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
        files=split_address(files) if files else None,
        files_dir=files_dir,
        console=console,
        ca=ca,
        lock=lock,
    )
    serve_forever(where, names, options, ready=ready)
    return 0


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPv6]:PORT`; raises UsageError (`wrong-usage`)."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError("wrong-usage", f"not HOST:PORT: {text!r}")
    return host.strip("[]"), int(port)
