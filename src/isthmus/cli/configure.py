"""`isthmus configure`: write the configuration of the site's nodes."""

from pathlib import Path

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.siting import site_options, site_registry
from isthmus.errors import UsageError
from isthmus.inventory.lock import read_lock
from isthmus.oci import Reference
from isthmus.site.containerd import configure_containerd

NAMES = ("containerd",)


@click.command("configure")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The directory to write to.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Write only this. Repeatable.")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_LOCK,
    show_default=True,
    help="The lock.",
)
@click.option("--ca", help="Where the nodes have the certificate of the site's CA.")
@click.option("--insecure", is_flag=True, help="Let the nodes not verify the registry's certificate.")
@click.option("--dry-run", is_flag=True, help="Say what would be written; change nothing.")
@site_options
@common_options
def command(
    run: Run,
    out: Path,
    only: tuple[str, ...],
    lock_path: Path,
    ca: str | None,
    insecure: bool,
    dry_run: bool,
    registry: str | None,
    mapping: str | None,
    prefix: str | None,
) -> int:
    """Write what the nodes need to pull every image by its original name from the site's registry.

    For containerd: OUT/containerd/certs.d/HOST/hosts.toml for every upstream host of the lock; copy
    certs.d to /etc/containerd/certs.d. Nothing outside OUT is touched.

    \b
    Examples:
      isthmus configure --registry https://registry.site.internal --ca /etc/pki/site.pem --out site/
      isthmus configure --out site/ --dry-run
    """
    site = site_registry(run.config(), registry, mapping, prefix)
    entries = read_lock(lock_path).references
    references = [Reference.parse(entry.name) for entry in entries if entry.kind in ("image", "artifact")]
    if not references:
        raise UsageError("invalid-lock", "the lock names no image", where=str(lock_path))
    files: list[Path] = []
    if not only or "containerd" in only:
        files += configure_containerd(
            references,
            site.mapping,
            site.url,
            out / "containerd" / "certs.d",
            ca=ca or site.ca,
            skip_verify=insecure,
            dry_run=dry_run,
        )
    document = {"files": [str(path) for path in files], "decisions": []}
    verb = "would write" if dry_run else "wrote"
    run.emit(document, "\n".join(f"{verb} {path}" for path in files))
    return 0
