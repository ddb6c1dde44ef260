"""`isthmus push`: copy a store into a registry, under the names of the mapping."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.cli.command import Run, common_options
from isthmus.cli.connecting import trust_options
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
from isthmus.store import Store
from isthmus.transfer.wanted import wanted_of_store

if TYPE_CHECKING:
    from isthmus.store import StoredReference
    from isthmus.transfer import CopyResult
    from isthmus.transfer.wanted import Wanted


@click.command("push")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@target_options
@trust_options
@common_options
def command(
    run: Run,
    store: Path | None,
    to: str,
    mapping: str,
    kind: str | None,
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
    dry_run: bool,
    trust_for: str,
    verify: bool,
    single_platform: bool,
) -> int:
    """Copy everything that the store holds into a registry; what is there already is left alone.

    \b
    Examples:
      isthmus push --store /srv/store --to registry.site.internal
      isthmus push --store /srv/store --to registry.site.internal/platform --mapping flat
    """
    with Store.open(store or run.store_path) as held:
        stored = held.references()
        host, names = split_target(to, mapping)

        def target() -> AbstractContextManager[Target]:
            return open_target(run, to, mapping, ca, insecure, plain_http, jobs)

        if dry_run:
            with target() as there:
                inside = [there.name_inside(one.name) for one in stored]
            run.emit({"dry_run": True, "names": inside}, "\n".join(f"would push {name}" for name in inside))
            return 0

        def wanted() -> "Sequence[Wanted]":
            return wanted_of_store(held, stored, names, single_platform=single_platform)

        done = None if verify else nothing_to_do(run, target, host, trust_for, jobs, wanted)
        if done is None:
            with target() as there:
                prepare_target(run, there, kind, (one.name for one in stored))
                result = _push(run, held, there, stored, jobs, trust_for, verify, single_platform)
                done = result, there.registry.requests
        result, requests = done
        changes = digest_changes([(one.name, one.descriptor.digest) for one in stored], result)
        run.emit(copy_document(result, requests, changes), lambda: show_copy(to, result, changes))
    return 0


def _push(
    run: Run,
    held: Store,
    target: Target,
    stored: "Sequence[StoredReference]",
    jobs: int,
    trust_for: str,
    verify: bool,
    single_platform: bool,
) -> "CopyResult":
    from isthmus.transfer import push

    with surveying(run, target, trust_for, verify) as survey, run.progress("push") as report:
        return push(
            held,
            target.registry,
            target.mapping,
            stored,
            jobs,
            report,
            survey=survey,
            single_platform=single_platform,
        )
