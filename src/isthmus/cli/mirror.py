"""`isthmus mirror`: copy from the upstream registries into another, where one machine reaches both."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options
from isthmus.cli.connecting import (
    connect_upstreams,
    connection_options,
    parse_platforms,
    skip_foreign_option,
    upstream_options,
)
from isthmus.cli.sharded_jobs import KubernetesOptions, deliver, kubernetes_options, pod_arguments, sharded_copy
from isthmus.cli.sharding import chosen_shard, shard_options
from isthmus.cli.targets import (
    Target,
    copy_document,
    digest_changes,
    nothing_to_do,
    open_target,
    prepare_target,
    show_copy,
    split_target,
    surveying,
    target_options,
)
from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry, read_lock
from isthmus.oci import Platform
from isthmus.transfer.wanted import wanted_of_lock

if TYPE_CHECKING:
    from isthmus.transfer import Upstreams
    from isthmus.transfer.wanted import Wanted


@click.command("mirror")
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_LOCK,
    show_default=True,
    help="The lock; not read where a SOURCE is given.",
)
@kubernetes_options
@shard_options
@target_options
@skip_foreign_option
@upstream_options
@common_options
def command(
    run: Run,
    sources: tuple[str, ...],
    lock_path: Path,
    shard: str | None,
    finish: bool,
    to: str,
    mapping: str,
    kind: str | None,
    upstreams: tuple[str, ...],
    platforms: tuple[str, ...],
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
    dry_run: bool,
    trust_for: str,
    verify: bool,
    single_platform: bool,
    skip_foreign: bool,
    kubernetes: KubernetesOptions | None,
) -> int:
    """Copy every image of the lock, or of the given sources, registry to registry, without touching disk.

    \b
    Examples:
      isthmus mirror --to registry.site.internal
      isthmus mirror images:extra.txt --to registry.site.internal/mirror --jobs 8
      isthmus mirror --to registry.site.internal --shard 0/4
      isthmus mirror --to registry.site.internal --kubernetes --shards 8 --image registry.site/isthmus:1 --apply
    """
    part = chosen_shard(shard, finish)
    if kubernetes is not None:
        if sources or not part.is_whole:
            raise UsageError("wrong-usage", "--kubernetes is for a lock, and for all of it: no SOURCE, no --shard")
        flags = {
            "--insecure": insecure, "--plain-http": plain_http, "--verify": verify,
            "--single-platform": single_platform, "--skip-foreign": skip_foreign,
        }  # fmt: skip
        given = pod_arguments(to, mapping, kind, jobs, upstreams, platforms, flags)
        deliver(run, kubernetes, sharded_copy(run, kubernetes, lock_path, given, ca))
        return 0
    config = run.config()
    options = connection_options(ca, insecure, plain_http, jobs)
    reach = partial(open_target, run, to, mapping, ca, insecure, plain_http, jobs)
    chosen = parse_platforms(platforms, config)
    entries: tuple[LockEntry, ...] = ()
    if not sources:
        lock = read_lock(lock_path)
        entries, chosen = lock.references, chosen or parse_platforms(lock.platforms, None)
        is_usual = part.is_whole and not dry_run and not verify and all(entry.in_registry for entry in entries)
        if is_usual and _is_done(run, entries, to, mapping, chosen, reach, trust_for, jobs, single_platform):
            return 0
    # Only from here on is anything loaded that moves bytes.
    from isthmus.cli.stored import push_stored
    from isthmus.transfer import mirror

    with connect_upstreams(options, upstreams, config) as registries, reach() as target:
        if sources:
            entries = _lock_now(run, sources, registries, chosen, jobs)
        if dry_run:
            names = [target.name_inside(entry.stored_name) for entry in entries]
            run.emit({"dry_run": True, "names": names}, "\n".join(f"would copy {name}" for name in names))
            return 0
        prepare_target(run, target, kind, (entry.stored_name for entry in entries))
        with surveying(run, target, trust_for, verify) as survey, run.progress("mirror") as report:
            result = mirror(
                entries,
                registries,
                target.registry,
                target.mapping,
                chosen,
                jobs,
                report,
                survey=survey,
                single_platform=single_platform,
                skip_foreign=skip_foreign,
                shard=part,
            )
        images = [(entry.name, entry.digest) for entry in entries if entry.in_registry]
        changes = digest_changes(images, result)
        document = copy_document(result, target.registry.requests, changes)
        if not part.is_whole:
            document["finished"] = result.finished
        absent = push_stored(run, target, entries) if part.is_whole else ()
        if not part.is_whole and not all(entry.in_registry for entry in entries):
            run.note(
                "files, git repositories, packages and classic charts are not in the shards: use 'isthmus push'"
            )
        if absent:
            document["missing"] = list(absent)
        run.emit(document, lambda: show_copy(to, result, changes))
    return 3 if absent else 0


def _is_done(
    run: Run, entries: tuple[LockEntry, ...], to: str, mapping: str, platforms: tuple[Platform, ...],
    reach: Callable[[], AbstractContextManager[Target]], trust_for: str, jobs: int, single_platform: bool,
) -> bool:  # fmt: skip
    """Whether nothing has to be copied; if so, that was said."""
    host, names = split_target(to, mapping)

    def wanted() -> "Sequence[Wanted]":
        return wanted_of_lock(entries, names, platforms, single_platform=single_platform)

    done = nothing_to_do(run, reach, host, trust_for, jobs, wanted)
    if done is None:
        return False
    result, requests = done
    changes = digest_changes([(entry.name, entry.digest) for entry in entries], result)
    run.emit(copy_document(result, requests, changes), lambda: show_copy(to, result, changes))
    return True


def _lock_now(
    run: Run, sources: tuple[str, ...], registries: "Upstreams", platforms: tuple[Platform, ...], jobs: int
) -> tuple[LockEntry, ...]:
    from isthmus.cli.finding import references_to_lock, refuse_incomplete, scan_platform
    from isthmus.transfer import resolve

    inventory = scan_platform(run, sources)
    wanted, left = references_to_lock(run, inventory, ())
    resolution = resolve(wanted, registries, platforms, max(jobs, 8))
    things = [
        f"{ref.name}: a {ref.kind} needs `isthmus lock` and `pull` first" for ref in wanted if not ref.in_registry
    ]
    refuse_incomplete(resolution.failures, left, "mend it, or mirror from a lock", things)
    return resolution.entries
