"""`isthmus prune`: delete from a registry what no lock needs any more."""

from pathlib import Path
from typing import get_args

import click

from isthmus.cli.command import Run, common_options
from isthmus.cli.connecting import trust_options
from isthmus.cli.output import counted
from isthmus.cli.targets import open_target
from isthmus.inventory import mapping as mappings
from isthmus.inventory.lock import read_lock
from isthmus.transfer.prune import PrunePlan, plan_prune, prune


@click.command("prune")
@click.option("--to", "--registry", "to", required=True, metavar="REGISTRY[/PREFIX]", help="The registry.")
@click.option(
    "--lock",
    "locks",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="What is needed. Repeatable: name the lock of everything that uses the registry.",
)
@click.option(
    "--mapping",
    type=click.Choice(get_args(mappings.Mapping)),
    default="prefix",
    show_default=True,
    help="How names came there.",
)
@click.option("--apply", is_flag=True, help="Delete; without it, only say what would be deleted.")
@trust_options
@common_options
def command(
    run: Run,
    to: str,
    locks: tuple[Path, ...],
    mapping: str,
    apply: bool,
    jobs: int,
    ca: Path | None,
    insecure: bool,
    plain_http: bool,
) -> int:
    """Delete images below the prefix that none of the locks names, by digest; says what would go, without --apply.

    What a lock names, what is below it and what is about it (signatures, SBOMs) stays. Names that are none of
    the mapping's, tags that a lock names and that stand for something else, and repositories in which
    something that a lock names is missing are left alone and listed. The registry's own garbage collection
    frees the space afterwards.

    \b
    Examples:
      isthmus prune --to registry.site.internal --lock isthmus.lock
      isthmus prune --to registry.site.internal/mirror --lock old.lock --lock new.lock --apply
    """
    entries = [entry for path in locks for entry in read_lock(path).references]
    with open_target(run, to, mapping, ca, insecure, plain_http, jobs) as target:
        plan = plan_prune(entries, target.registry, target.mapping, max(jobs, 8))
        deleted = prune(plan, target.registry) if apply else 0
    document = {
        "dry_run": not apply,
        "unneeded": [
            {"repository": one.repository, "digest": one.digest, "tags": list(one.tags)} for one in plan.unneeded
        ],
        "deleted": deleted,
        "kept": plan.kept,
        "stale": list(plan.stale),
        "incomplete": list(plan.incomplete),
        "foreign": list(plan.foreign),
    }
    run.emit(document, lambda: _show(plan, deleted, apply=apply))
    return 0


def _show(plan: PrunePlan, deleted: int, *, apply: bool) -> None:
    for one in plan.unneeded:
        named = f" ({', '.join(one.tags)})" if one.tags else ""
        click.echo(f"{'deleted' if apply else 'would delete'} {one.repository}@{one.digest}{named}")
    for text, names in (
        ("stands for something else than its lock says, left alone", plan.stale),
        ("lacks something that a lock names, left alone", plan.incomplete),
        ("is no name of the mapping, left alone", plan.foreign),
    ):
        for name in names:
            click.secho(f"{name} {text}", fg="yellow")
    if apply:
        click.echo(
            f"{counted(deleted, 'manifest')} deleted, {plan.kept} kept; "
            "the registry's garbage collection frees the space"
        )
    else:
        click.echo(f"{counted(len(plan.unneeded), 'manifest')} would go, {plan.kept} stay; --apply deletes them")
