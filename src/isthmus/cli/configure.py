"""`isthmus configure`: write everything that the site has to be told."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.siting import site_options, site_registry
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import read_lock
from isthmus.site.parts import INDEX, PARTS, configure_parts, unwaived

if TYPE_CHECKING:
    from isthmus.inventory.config import Config
    from isthmus.site.plan import Decision, Part, Site


@click.command("configure")
@click.option("--out", type=click.Path(path_type=Path), help="The directory to write to.")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Write only this. Repeatable.")
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
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Write nothing; say what is open in Compliant Kubernetes' configuration as it is, or as OUT has it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written; change nothing.")
@site_options
@common_options
def command(
    run: Run,
    out: Path | None,
    only: tuple[str, ...],
    lock_path: Path,
    ca: str | None,
    insecure: bool,
    only_check: bool,
    dry_run: bool,
    registry: str | None,
    mapping: str | None,
    prefix: str | None,
) -> int:
    """Write what the site needs to run the platform without the Internet, from isthmus.yaml and the lock.

    Each part has a directory of its own below OUT; nothing outside it is touched. For containerd, copy
    OUT/containerd/certs.d to /etc/containerd/certs.d. What a person still has to decide is listed, and then
    the exit status is 3.

    \b
    Examples:
      isthmus configure --registry https://registry.site.internal --ca /etc/pki/site.pem --out site/
      isthmus configure --out site/ --only containerd --dry-run
      isthmus configure --check --out site/
    """
    from isthmus.site.output import write_files

    site = site_of(run, lock_path, registry, mapping, prefix, ca, insecure=insecure)
    if not site.references:
        raise UsageError("invalid-lock", "the lock names no image", where=str(lock_path))
    if only_check:
        return _check(run, site, out)
    if out is None:
        raise UsageError("wrong-usage", "there is no directory to write to", hint="give --out DIR, or --check")
    parts = configure_parts(site, only)
    files = write_files((file for part in parts.values() for file in part.files), out, dry_run=dry_run)
    decisions = [decision for part in parts.values() for decision in part.decisions]
    document = {"files": [str(path) for path in files], "decisions": [_shown(decision) for decision in decisions]}

    def show() -> None:
        verb = "would write" if dry_run else "wrote"
        for path in files:
            click.echo(f"{verb} {path}")
        _show_rest(parts, decisions)

    run.emit(document, show)
    return 3 if decisions else 0


def _check(run: Run, site: "Site", out: Path | None) -> int:
    from isthmus.site.ck8s.composed import is_wanted
    from isthmus.site.ck8s.part import check

    parts = configure_parts(site, [name for name in PARTS if name not in ("ck8s", INDEX)])
    decisions = [decision for part in parts.values() for decision in part.decisions]
    if is_wanted(site):
        written = str(out / "ck8s") if out is not None else ""
        decisions += unwaived("ck8s", check(site, written), site.config.platform.waive)
    document = {"files": [], "decisions": [_shown(decision) for decision in decisions]}

    def show() -> None:
        if not decisions:
            click.echo("nothing is open")
        _show_rest({}, decisions)

    run.emit(document, show)
    return 3 if decisions else 0


def site_of(
    run: Run,
    lock_path: Path,
    registry: str | None = None,
    mapping: str | None = None,
    prefix: str | None = None,
    ca: str | None = None,
    *,
    insecure: bool = False,
    default: str = "",
) -> "Site":
    """The site as isthmus.yaml, the lock and the options have it; `default` is for where no registry is known."""
    from isthmus.inventory.config import Config
    from isthmus.site.plan import Site

    config = run.config() or Config()
    known = site_registry(
        config, registry or (default if not config.site.registry.host else None), mapping, prefix
    )
    certificate = None if ca or insecure else _certificate(known.ca or _made_by_us(config))
    # A CA that is not on this machine can only be meant as the nodes' own file.
    on_nodes = ca or (known.ca if certificate is None and not insecure else "")
    return Site(
        config=config,
        registry=known.url,
        mapping=known.mapping,
        entries=read_lock(lock_path).references,
        ca_path=on_nodes,
        ca=certificate,
        skip_verify=insecure,
        base=str(run.file.parent) if run.file else "",
    )


def _made_by_us(config: "Config") -> str:
    """The root of `isthmus pki`, where isthmus.yaml names no other CA and there is one."""
    made = Path(config.site.pki.directory) / "ca.pem"
    return str(made) if made.exists() else ""


def _certificate(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=path) from error


def _shown(decision: "Decision") -> dict[str, str]:
    return {
        "part": decision.part,
        "file": decision.file,
        "key": decision.key,
        "why": decision.why,
        "hint": decision.hint,
    }


def _show_rest(parts: "dict[str, Part]", decisions: "list[Decision]") -> None:
    for part in parts.values():
        for note in part.notes:
            click.echo(note)
    if decisions:
        click.echo(f"{len(decisions)} decisions are open:")
    for decision in decisions:
        click.echo(f"  {decision}")
