"""`isthmus push`: copy a store into a registry, under the names of the mapping."""

from pathlib import Path

import click

from isthmus.cli.command import Run, common_options
from isthmus.cli.connecting import trust_options
from isthmus.cli.targets import (
    copy_document,
    digest_changes,
    open_target,
    prepare_target,
    show_copy,
    surveying,
    target_options,
)
from isthmus.store import Store
from isthmus.transfer import push


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
    with (
        Store.open(store or run.store_path) as held,
        open_target(run, to, mapping, ca, insecure, plain_http, jobs) as target,
    ):
        if dry_run:
            names = [target.name_inside(stored.name) for stored in held.references()]
            run.emit({"dry_run": True, "names": names}, "\n".join(f"would push {name}" for name in names))
            return 0
        stored = held.references()
        prepare_target(run, target, kind, (one.name for one in stored))
        with surveying(run, target, trust_for, verify) as survey, run.progress("push") as report:
            result = push(
                held,
                target.registry,
                target.mapping,
                stored,
                jobs,
                report,
                survey=survey,
                single_platform=single_platform,
            )
        changes = digest_changes([(one.name, one.descriptor.digest) for one in stored], result)
        run.emit(copy_document(result, target, changes), lambda: show_copy(to, result, changes))
    return 0
