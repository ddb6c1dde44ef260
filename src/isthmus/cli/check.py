"""`isthmus check`: prove that everything in the lock is there, and that the site is as it has to be."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.check import CheckResult, Finding, check_store
from isthmus.cli.asking import Where, lock_for
from isthmus.cli.command import DEFAULT_LOCK, Run, common_options, parse_duration
from isthmus.cli.connecting import trust_options
from isthmus.cli.siting import site_options
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import Lock, read_lock
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.check.certificates import CertificateLife
    from isthmus.inventory.model import Ref


@click.command("check")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_LOCK,
    show_default=True,
    help="What must be there.",
)
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    help="Ask for what this inventory names instead (scan --out): the next release's, for instance.",
)
@click.option(
    "--upgrade",
    "new_lock",
    metavar="NEW.LOCK",
    type=click.Path(path_type=Path),
    help="Say what must be carried before the site can have this lock, and how many bytes.",
)
@click.option("--environment", is_flag=True, help="Probe what the site must offer: time, DNS, trust, identity, …")
@click.option("--store", type=click.Path(path_type=Path), help="Look into this store instead of a registry.")
@click.option("--receipt", type=click.Path(path_type=Path), help="With --upgrade: what the site said it holds.")
@click.option(
    "--contents",
    type=click.Path(path_type=Path),
    help="With --upgrade: the store that the new lock was pulled into.  [default: WORKSPACE/store]",
)
@click.option(
    "--files",
    metavar="URL",
    help="The site's file server.  [default: isthmus.yaml, where --registry is not given]",
)
@click.option("--blobs", is_flag=True, help="Ask for every blob, too, not only for manifests.")
@click.option("--deep", is_flag=True, help="Read everything and hash it again.")
@click.option(
    "--within", default="14d", show_default=True, help="A certificate that ends sooner than this is a finding."
)
@click.option("--upload", default="", metavar="ssh://[USER@]HOST", help="With --environment: where files go to.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the result there too, as JUnit XML.")
@site_options
@trust_options
@common_options
def command(
    run: Run,
    lock_path: Path,
    inventory: Path | None,
    new_lock: Path | None,
    environment: bool,
    store: Path | None,
    receipt: Path | None,
    contents: Path | None,
    files: str | None,
    blobs: bool,
    deep: bool,
    within: str,
    upload: str,
    junit: Path | None,
    registry: str | None,
    mapping: str | None,
    prefix: str | None,
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Ask the site's registry for every reference of the lock, by digest, under its name inside.

    One request a reference, whose answer is hashed. What the file server should have is asked for, too; what has
    become stale and certificates that end soon are findings. Exit status 3 where anything is missing, points to
    something else, is stale or ends soon. Needs nothing but the lock and the network.

    \b
    Examples:
      isthmus check --registry registry.site.internal
      isthmus check --store /srv/store --lock isthmus.lock
      isthmus check --deep --junit check.xml
      isthmus check --inventory next.json
      isthmus check --upgrade next.lock --receipt site.receipt
      isthmus check --environment --upload ssh://carrier@files.site.internal
    """
    where = Where(run, registry, mapping, prefix, jobs, ca, insecure, plain_http)
    if environment:
        from isthmus.cli.probing import probe

        return probe(where, upload)
    if new_lock is not None:
        from isthmus.cli.upgrading import say_what_to_carry

        return say_what_to_carry(where, new_lock, store, receipt, contents)
    if receipt is not None or contents is not None:
        raise UsageError("wrong-usage", "--receipt and --contents go with --upgrade")
    if upload:
        raise UsageError("wrong-usage", "--upload goes with --environment")
    if inventory is not None:
        return _inventory(where, inventory, store, junit)
    lock = read_lock(lock_for(lock_path, store))
    if store is not None:
        with Store.open(store) as held:
            result = check_store(lock.references, held, rehash=deep)
    else:
        result = where.check(lock, blobs=blobs, deep=deep)
    return _lock(where, lock, result, files, store, within, junit, deep=deep)


def _lock(
    where: Where,
    lock: Lock,
    result: CheckResult,
    files: str | None,
    store: Path | None,
    within: str,
    junit: Path | None,
    *,
    deep: bool,
) -> int:
    from isthmus.check.ageing import stale_entries
    from isthmus.check.files import served
    from isthmus.cli import checking
    from isthmus.content.times import now_or_epoch

    run, now = where.run, now_or_epoch()
    site = None if store is not None else where.site()
    url = files if files is not None else "" if where.given or store else checking.files_url(run.config())
    suites: dict[str, tuple[list[str], list[Finding]]] = {}
    names = [entry.name for entry in lock.references]
    suites["references"] = (names, [*result.missing, *result.stale])
    missing, stale = list(result.missing), [*result.stale, *stale_entries(lock.references, now)]
    document: dict[str, object] = {"present": result.present}
    if url:
        answer = checking.check_served(run, lock.references, url, where.options(site), where.jobs, rehash=deep)
        missing += answer.missing
        document["files"] = answer.present
        on_server = [entry.name for entry in lock.references if any(served(entry))]
        suites["files"] = (on_server, list(answer.missing))
    perishable = [entry.name for entry in lock.references if entry.max_age]
    suites["freshness"] = (perishable, stale[len(result.stale) :])
    secured = site if site is not None and where.shows_certificate(site) else None
    lives = checking.certificates(run, secured, url, now) if store is None else ()
    days = parse_duration(within) / 86400
    ending = [finding for each in lives if (finding := each.finding(days))]
    suites["certificates"] = ([f"{each.what} {each.where}" for each in lives], ending)
    document |= {"missing": sorted(missing), "stale": sorted(stale)}
    if lives:
        document |= {"certificates": lives, "ending": ending}
    _write_junit(junit, suites)

    def show() -> None:
        for label, colour, found in (
            ("missing", "red", missing),
            ("stale", "yellow", stale),
            ("ends", "red", ending),
        ):
            for item in found:
                click.secho(f"{label}: {item}", fg=colour)
        _show_lives(lives)
        click.echo(f"{result.present} of {len(lock.references)} references are there")
        if "files" in document:
            click.echo(f"{document['files']} of {len(suites['files'][0])} things are on the file server")

    run.emit(document, show)
    return 3 if missing or stale or ending else 0


def _show_lives(lives: "tuple[CertificateLife, ...]") -> None:
    good = [each for each in lives if not each.problem]
    if good:
        first = min(good, key=lambda each: each.days)
        many = f"{len(good)} certificate" + ("s" if len(good) > 1 else "")
        click.echo(f"{many}; the first to end is {first.what} {first.where}, in {first.days:.0f} d")


def _inventory(where: Where, path: Path, store: Path | None, junit: Path | None) -> int:
    from isthmus.check.named import check_names, check_names_in_store
    from isthmus.cli.checking import read_inventory
    from isthmus.inventory.settle import to_lock

    config = where.run.config()
    include = config.platform.include if config else ()
    refs: tuple[Ref, ...] = to_lock(read_inventory(path), include).references
    if store is not None:
        with Store.open(store) as held:
            result = check_names_in_store(refs, held)
    else:
        site = where.site()
        with where.connect(site) as target:
            result = check_names(refs, target, site.mapping, where.jobs)
    _write_junit(junit, {"references": ([ref.name for ref in refs], list(result.missing))})

    def show() -> None:
        for item in result.missing:
            click.secho(f"missing: {item}", fg="red")
        click.echo(f"{result.present} of {len(refs)} names are there")

    where.run.emit({"present": result.present, "missing": result.missing, "stale": ()}, show)
    return 3 if result.missing else 0


def _write_junit(path: Path | None, suites: dict[str, tuple[list[str], list[Finding]]]) -> None:
    if path is None:
        return
    from isthmus.check.junit import junit

    try:
        path.write_bytes(junit({name: suite for name, suite in suites.items() if suite[0] or suite[1]}))
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(path)) from error
