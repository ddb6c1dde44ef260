"""`isthmus send`: carry a bundle over SSH, SFTP or a one-way link, or copy it onto a medium."""

from pathlib import Path

import click

from isthmus.carry.ssh.link import Link, Options
from isthmus.cli.command import Run, common_options, parse_duration, parse_size
from isthmus.cli.output import human_size
from isthmus.cli.ssh_options import ssh_options
from isthmus.errors import UsageError

_HOW = {
    "sha256": "verified there by SHA-256",
    "read-back": "verified by reading all of it back",
    "size": "compared there by size and the last mebibyte only; the server cannot hash (--read-back compares all)",
}


@click.command("send")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE…")
@click.argument("target", metavar="TARGET")
@click.option("--limit", metavar="RATE", help="At most so many bytes a second in all: 10M.  [ssh, sftp]")
@click.option(
    "--streams",
    type=click.IntRange(1, 9),
    default=4,
    show_default=True,
    help="So many files at a time.  [ssh, sftp]",
)
@click.option(
    "--stall",
    default="5m",
    show_default=True,
    metavar="TIME",
    help="Give up when the far side takes nothing for so long; 0s: never.  [ssh, sftp]",
)
@click.option("--read-back", is_flag=True, help="Where the far side cannot hash, read all back.  [ssh, sftp]")
@click.option(
    "--then",
    "then",
    multiple=True,
    metavar="unpack[:STORE]|push:REGISTRY",
    help="Run this on the far side at the end; its exit status is ours.  [ssh]",
)
@click.option(
    "--remote-key", default="", metavar="PATH", help="The public key on the far side, for unpack.  [ssh]"
)
@click.option(
    "--remote-isthmus", default="isthmus", show_default=True, help="Isthmus on the far side, for --then.  [ssh]"
)
@click.option("--only", default="", metavar="LIST", help="Send only what a receiver says it lacks.  [diode]")
@click.option("--repeat", type=click.IntRange(0), help="Send all so many times; 0 for ever.  [diode]")
@click.option("--redundancy", type=float, metavar="PERCENT", help="So much parity on top.  [diode]")
@click.option("--dry-run", is_flag=True, help="Say what would be sent; write nothing there.")
@ssh_options
@common_options
def command(
    run: Run,
    bundles: tuple[Path, ...],
    target: str,
    limit: str | None,
    streams: int,
    stall: str,
    read_back: bool,
    then: tuple[str, ...],
    remote_key: str,
    remote_isthmus: str,
    only: str,
    repeat: int | None,
    redundancy: float | None,
    dry_run: bool,
    ssh: Options,
) -> int:
    """Carry bundles, and any other files, to the far side; what arrived earlier is not sent again.

    TARGET is ssh://[user@]host[:port]/directory (/~/directory is below the home directory), sftp://… for a
    server without a shell, diode://HOST:PORT?rate=… (bits a second) for a one-way link, or a directory such as
    /media/disk, where every file is read back. SSH is the system's own: its agent, known hosts, configuration and
    jump hosts count. A file that is not complete there is called NAME.part.

    \b
    Examples:
      isthmus send bundle/ ssh://carrier@gate.site.example/srv/incoming
      isthmus send bundle/ site.receipt ssh://gate/~/incoming --limit 10M -J admin@bastion
      isthmus send bundle/ ssh://gate/srv/incoming --then unpack:/srv/store --then push:registry.site.internal
      isthmus send bundle/ sftp://carrier@drop.example/incoming
      isthmus send bundle/ 'diode://10.0.0.2:9000?rate=100M'
      isthmus send bundle/ /media/disk
    """
    scheme = target.partition("://")[0]
    if scheme == "diode":
        return _over_diode(run, bundles, target, only, repeat, redundancy, dry_run=dry_run)
    if "://" not in target:
        if then or limit or only or repeat is not None or redundancy is not None:
            raise UsageError("wrong-usage", "these options are for ssh:// and diode://; TARGET is a directory")
        return _into_directory(run, bundles, Path(target), dry_run=dry_run)
    from isthmus.carry.ssh.address import parse_address
    from isthmus.carry.ssh.afterwards import run_steps, steps
    from isthmus.carry.ssh.sending import send

    address = parse_address(target)
    if only or repeat is not None or redundancy is not None:
        raise UsageError("wrong-usage", "--only, --repeat and --redundancy are for diode://")
    if then and address.scheme != "ssh":
        raise UsageError("wrong-usage", "--then needs a shell on the far side: ssh://")
    wanted = steps(then, address.directory, program=remote_isthmus, key=remote_key)
    rate = parse_size(limit) if limit else 0
    with Link(address, ssh) as link:
        with run.progress("send") as report:
            sent = send(
                bundles,
                link,
                streams=streams,
                limit=rate,
                read_back=read_back,
                dry_run=dry_run,
                stall=parse_duration(stall),
                progress=report,
            )
        status = 0 if dry_run else run_steps(link, wanted, lambda line: click.echo(line, err=run.as_json))
    document = {
        "bytes": sent.bytes,
        "skipped": sent.skipped,
        "seconds": round(sent.seconds, 3),
        "files": sent.files,
        "verified": "" if dry_run else sent.verified,
        "replaced": list(sent.replaced),
        "then": [step.what for step in wanted],
        "status": status,
        "dry_run": dry_run,
    }
    would = "would send" if dry_run else "sent"
    how = "by size alone, nothing was compared" if dry_run else _HOW[sent.verified]
    lines = [f"{would} {human_size(sent.bytes)}, {human_size(sent.skipped)} were there; {sent.files} files, {how}"]
    lines += [f"replaced: {name} was there with other bytes" for name in sent.replaced]
    run.emit(document, "\n".join(lines))
    return status


def _into_directory(run: Run, bundles: tuple[Path, ...], target: Path, *, dry_run: bool) -> int:
    from isthmus.carry.directory import copy_to_directory

    with run.progress("send") as report:
        copied = copy_to_directory(bundles, target, dry_run=dry_run, progress=report)
    document = {
        "bytes": copied.bytes,
        "skipped": copied.skipped,
        "seconds": round(copied.seconds, 3),
        "files": copied.files,
        "verified": "" if dry_run else "read-back",
        "replaced": list(copied.replaced),
        "dry_run": dry_run,
    }
    would = "would copy" if dry_run else "copied"
    there = human_size(copied.skipped)
    lines = [f"{would} {human_size(copied.bytes)}, {there} were there; {copied.files} files, read back"]
    lines += [f"replaced: {name} was there with other bytes" for name in copied.replaced]
    run.emit(document, "\n".join(lines))
    return 0


def _over_diode(
    run: Run,
    bundles: tuple[Path, ...],
    target: str,
    only: str,
    repeat: int | None,
    redundancy: float | None,
    *,
    dry_run: bool,
) -> int:
    from isthmus.carry.diode.sending import send

    if len(bundles) != 1:
        raise UsageError("wrong-usage", "over a one-way link goes one BUNDLE at a time")
    with run.progress("send") as report:
        sent = send(
            bundles[0], target, only=only, repeat=repeat, redundancy=redundancy, progress=report, dry_run=dry_run
        )
    document = {
        "bytes": sent.bytes,
        "skipped": sent.skipped,
        "seconds": round(sent.seconds, 3),
        "session": sent.session,
        "passes": sent.passes,
        "datagrams": sent.datagrams,
        "wire_bytes": sent.wire_bytes,
        "dry_run": dry_run,
    }
    would = "would send" if dry_run else "sent"
    run.emit(
        document,
        f"{would} {human_size(sent.bytes)} as session {sent.session[:8]}; only the receiver knows what arrived",
    )
    return 0
