"""`isthmus check`: prove that everything in the lock is there, and that the site is as it has to be."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.check import CheckResult, Finding, check, check_store
from isthmus.cli.command import DEFAULT_LOCK, Run, common_options, parse_duration
from isthmus.cli.connecting import connection_options, host_options, trust_options
from isthmus.cli.siting import SiteRegistry, site_options, site_registry
from isthmus.cli.targets import stand_ins
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import Lock, LockEntry, read_lock
from isthmus.oci import Descriptor
from isthmus.registry import connect
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.check.certificates import CertificateLife
    from isthmus.check.upgrade import Held
    from isthmus.inventory.model import Ref
    from isthmus.registry import ConnectionOptions, Registry


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
    where = _Where(run, registry, mapping, prefix, jobs, ca, insecure, plain_http)
    if environment:
        return _environment(where, upload)
    if new_lock is not None:
        return _upgrade(where, new_lock, store, receipt, contents)
    if receipt is not None or contents is not None:
        raise UsageError("wrong-usage", "--receipt and --contents go with --upgrade")
    if inventory is not None:
        return _inventory(where, inventory, store, junit)
    lock = read_lock(lock_path)
    if store is not None:
        with Store.open(store) as held:
            result = check_store(lock.references, held, rehash=deep)
    else:
        result = where.check(lock, blobs=blobs, deep=deep)
    return _lock(where, lock, result, files, store, within, junit, deep=deep)


class _Where:
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

    def check(self, lock: Lock, *, blobs: bool = False, deep: bool = False) -> CheckResult:
        """Every reference of a lock, through the mapping."""
        site = self.site()
        with self.connect(site) as target, self.run.progress("check", "items"):
            known = stand_ins(self.run, site.host)
            return check(
                lock.references, target, site.mapping, self.jobs, deep=blobs, rehash=deep, stand_ins=known
            )


def _lock(
    where: _Where,
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
    lives = checking.certificates(run, site, url, now) if store is None else ()
    days = parse_duration(within) / 86400
    ending = [finding for each in lives if (finding := each.finding(days))]
    suites["certificates"] = ([f"{each.what} {each.where}" for each in lives], ending)
    document |= {"missing": sorted(missing), "stale": sorted(stale), "certificates": lives, "ending": ending}
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


def _inventory(where: _Where, path: Path, store: Path | None, junit: Path | None) -> int:
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


def _upgrade(where: _Where, path: Path, store: Path | None, receipt: Path | None, contents: Path | None) -> int:
    from contextlib import ExitStack

    from isthmus.check.upgrade import Held, check_receipt, held_by_receipt, upgrade
    from isthmus.cli.output import human_size

    entries = read_lock(path).references
    with ExitStack() as stack:
        at = contents or where.run.store_path
        known = stack.enter_context(Store.open(at)) if contents or at.is_dir() else None
        held: Held
        if receipt is not None:
            from isthmus.bundle.receipt import read_receipt

            said = read_receipt(receipt)
            there, held = check_receipt(entries, said), held_by_receipt(said)
        elif store is not None:
            site_store = stack.enter_context(Store.open(store))
            there = check_store(entries, site_store)
            held = lambda _, part: site_store.blob_size(part.digest) is not None  # noqa: E731
        else:
            site = where.site()
            target = stack.enter_context(where.connect(site))
            there = check(entries, target, site.mapping, where.jobs, deep=True)
            held = _held_by(target, site)
        result = upgrade(entries, there, held, known)

    def show() -> None:
        for each in result.carry:
            click.echo(f"carry: {each.name} ({'' if each.exact else 'at most '}{human_size(each.bytes)})")
        amount = f"{'' if result.exact else 'at most '}{human_size(result.bytes)}"
        click.echo(
            f"{len(result.carry)} of {len(entries)} references must be carried first, {amount}"
            if result.carry
            else f"all {len(entries)} references are there"
        )

    where.run.emit(result, show)
    return 3 if result.carry else 0


def _held_by(target: "Registry", site: SiteRegistry) -> "Held":
    from isthmus.check.locked import reference_of

    def held(entry: LockEntry, part: Descriptor) -> bool:
        reference = reference_of(entry)
        if reference is None:
            return False
        repository = site.mapping.repository(reference)
        if part.is_manifest:
            return target.has_manifest(repository, part.digest)
        return target.has_blob(repository, part)

    return held


def _environment(where: _Where, upload: str) -> int:
    from isthmus.check.environment import probes, run
    from isthmus.cli.checking import contract_of, site_here

    config = where.run.config()
    known = where.site() if where.given or (config and config.site.registry.host) else None
    if config is None and known is None:
        hint = "isthmus.yaml says what the site has; isthmus init writes one"
        raise UsageError("wrong-usage", "there is no isthmus.yaml, and no --registry", hint=hint)
    site = site_here(where.run, known, where.ca)
    found = run(probes(contract_of(site, upload)))
    failed = [each for each in found if each.outcome == "fail"]

    def show() -> None:
        colours = {"pass": "green", "fail": "red", "skip": "yellow"}
        for each in found:
            mark = click.style(each.outcome, fg=colours[each.outcome])
            click.echo(f"{mark}  {each.what:<16}  {each.asked}: {each.answer}")
            if each.outcome == "fail" and each.hint:
                click.echo(f"      {'':<16}  {each.hint}")
        skipped = sum(each.outcome == "skip" for each in found)
        passed = len(found) - len(failed) - skipped
        click.echo(f"{passed} as it has to be, {len(failed)} not, {skipped} not asked")

    document = {"passed": sum(each.outcome == "pass" for each in found), "failed": len(failed), "probes": found}
    where.run.emit(document, show)
    return 3 if failed else 0


def _write_junit(path: Path | None, suites: dict[str, tuple[list[str], list[Finding]]]) -> None:
    if path is None:
        return
    from isthmus.check.junit import junit

    try:
        path.write_bytes(junit({name: suite for name, suite in suites.items() if suite[0] or suite[1]}))
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(path)) from error
